"""The global muon trigger (uGMT): track-finder muons in, the eight best muons out."""

from scout40.emulator.ugmt.emulate import Ugmt
from scout40.emulator.ugmt.firmware import FIRMWARES, Firmware, firmware, firmware_of
from scout40.emulator.ugmt.tables import Tables, computed_tables, load_tables

__all__ = [
    "FIRMWARES",
    "Firmware",
    "Tables",
    "Ugmt",
    "computed_tables",
    "firmware",
    "firmware_of",
    "load_tables",
]
