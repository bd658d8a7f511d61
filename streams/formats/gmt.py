"""Scouting words of the global muon trigger (GMT).

A packet holds, for every crossing with muons, one block: three header words, then three words a
muon. Source: bit masks and unpacker of the CMS Level-1 scouting (Run 3), as written down in the
project's format notes; checked against reference unpackings.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.scales import MUON_ETA
from scout40.streams.formats.ugt import UgtMuon
from scout40.streams.layout import Bits, Columns, Word

MAX_MUONS = 30
"""Muons that one block can announce: two counts of four bits."""


class GmtBlockHeader(Word, words=3):
    """Three words in front of the muons of one crossing."""

    n_b = Bits(0, 4, "muons of the second group", word=0)
    orbit_match = Bits(8, 8, "orbit numbers agree, one bit a link", word=0)
    n_a = Bits(16, 4, "muons of the first group", word=0)
    bx_match = Bits(24, 8, "crossing numbers agree, one bit a link", word=0)
    bx = Bits(0, 32, "bunch crossing 1..3564", word=1)
    orbit = Bits(0, 31, "orbit number", word=2)


class GmtMuon(UgtMuon, dtype="u4", words=3):
    """One scouting muon: the two halves of the uGT word, then a word about the muon station.

    The extra word is shared by a pair of muons, ``second`` says which eta is this muon's. The
    CMS unpacker takes the raw eta 256 as +256, not as -256; so does this declaration.
    """

    second = Bits(0, 1, "0: eta is hw_eta_first, 1: hw_eta_second", word=2)
    hw_eta_first = Bits(
        13, 9, "pseudorapidity at the station, first muon of the pair", word=2, signed=True,
        signed_above=256, scale=MUON_ETA,
    )  # fmt: skip
    hw_eta_second = Bits(
        22, 9, "pseudorapidity at the station, second muon of the pair", word=2, signed=True,
        signed_above=256, scale=MUON_ETA,
    )  # fmt: skip
    intermediate = Bits(31, 1, "sent by a track finder, not by the final sort", word=2)


class ScoutingMuon(UgtMuon, dtype="u4", words=3):
    """Columns of the table ``mu``: a GmtMuon whose own station eta stands in the first place."""

    hw_eta = dataclasses.replace(
        GmtMuon.hw_eta_first, doc="pseudorapidity at the muon station"
    )  # fmt: skip


class ScoutingMuonAll(ScoutingMuon):
    """Columns of the table ``mu`` when intermediate muons are kept."""

    intermediate = GmtMuon.intermediate


def charge(columns: Columns) -> npt.NDArray[np.int8]:
    """+1, -1, or 0 where the charge is not valid; from hw_sign and hw_charge_valid."""
    sign = 1 - 2 * columns["hw_sign"].astype(np.int8)
    return np.where(columns["hw_charge_valid"] == 1, sign, 0).astype(np.int8)
