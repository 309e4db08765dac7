"""Crafted tests: few inputs, each a named case, that notice most slips in a problem's program; expectations come from its reference."""

from reflectioncoder.builder.crafted.crafting import craft_tests, failing_tests
from reflectioncoder.builder.crafted.selection import CraftedTest, ShownTests, choose

__all__ = ["CraftedTest", "ShownTests", "choose", "craft_tests", "failing_tests"]
