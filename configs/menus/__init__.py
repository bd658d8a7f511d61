"""Trigger menus that are installed with the package."""
