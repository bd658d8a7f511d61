"""Scouting words of the barrel muon track finder (BMTF): trigger primitives ("stubs").

One packet for each of the 12 sectors (source ids 10..21): per crossing a header of three words,
then one 64-bit word a stub. Source: bit masks and unpacker of the CMS Level-1 scouting (Run 3),
as written down in the project's format notes; checked against reference unpackings.
"""

from __future__ import annotations

from scout40.streams.layout import Bits, Word

FIRST_SOURCE = 10
SECTORS = 12


class BmtfBlockHeader(Word, words=3):
    """Three words in front of the stubs of one crossing."""

    count = Bits(0, 8, "number of stubs", word=0)
    bx = Bits(0, 32, "bunch crossing 1..3564", word=1)
    orbit = Bits(0, 31, "orbit number", word=2)


class BmtfStub(Word, dtype="u8"):
    """One stub. Unpackers take the crossing of the block, not ``stub_bx``."""

    hw_valid = Bits(0, 1, "stub is valid; not tested by unpackers")
    hw_phi = Bits(1, 12, "azimuth inside the sector", signed=True)
    hw_phib = Bits(13, 10, "bending angle", signed=True)
    hw_qual = Bits(23, 3, "quality")
    hw_eta = Bits(26, 7, "pseudorapidity hit pattern")
    hw_qeta = Bits(33, 7, "quality of the pseudorapidity pattern")
    hw_station = Bits(40, 2, "station - 1")
    wheel = Bits(42, 3, "wheel, -2..2", signed=True)
    reserved = Bits(45, 3, "reserved")
    stub_bx = Bits(48, 16, "bunch crossing as counted by the board")
