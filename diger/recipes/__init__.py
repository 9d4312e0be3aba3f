"""Recipes: one small TOML file each, data and no code."""
