"""Crafted tests: few inputs, each a named case, that notice most slips in a problem's program; expectations come from its reference."""
