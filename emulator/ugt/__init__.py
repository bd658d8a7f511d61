"""The micro global trigger: menus, conditions, decisions, prescales, rules, rates."""

from scout40.emulator.ugt.menu import load_menu
from scout40.emulator.ugt.model import Menu

__all__ = ["Menu", "load_menu"]
