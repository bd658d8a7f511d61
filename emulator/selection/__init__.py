"""Which crossings of a stream are kept: zero-bias orbits, menu bits, selectors, neighbours."""

from scout40.emulator.selection.keep import kept
from scout40.emulator.selection.select import Selection, Selector
from scout40.emulator.selection.selectors import SELECTORS
from scout40.emulator.selection.window import Chosen, Windowed

__all__ = ["SELECTORS", "Chosen", "Selection", "Selector", "Windowed", "kept"]
