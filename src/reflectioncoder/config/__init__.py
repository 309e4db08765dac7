"""Declares, loads, checks and shows recipes: typed, frozen, closed sections with a documented field for every setting."""
