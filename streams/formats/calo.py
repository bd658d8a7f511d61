"""Scouting words of the calorimeter trigger: objects and sums of layer 2, in two forms.

DMA form (source id 2): 59 words a crossing; header, bx, orbit, then eight groups of one link
word and six words. TCP form (ids 22..25): one packet an object type; header, bx, orbit, objects,
and for the sums bx, orbit, six words. The object words are those of the global trigger.

Source: bit masks and unpackers of the CMS Level-1 scouting (Run 3), as written down in the
project's format notes; checked against reference unpackings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scout40.streams.formats.scales import SCOUTING_CALO_PHI
from scout40.streams.formats.ugt import UgtEgamma, UgtJet, UgtSums, UgtTau
from scout40.streams.layout import Bits, Columns, Word


class CaloBlockHeader(Word, words=3):
    """Three words in front of the objects of one crossing (DMA form: count not used)."""

    count = Bits(0, 8, "number of objects", word=0)
    bx = Bits(0, 32, "bunch crossing 1..3564", word=1)
    orbit = Bits(0, 31, "orbit number", word=2)


class CaloSumsHeader(Word, words=2):
    """Two words in front of the six sums of one crossing, TCP form."""

    bx = Bits(0, 32, "bunch crossing 1..3564", word=0)
    orbit = Bits(0, 31, "orbit number", word=1)


class CaloEgamma(UgtEgamma):
    """One e/gamma candidate; scouting converts its azimuth with 0.0435 rad a code."""

    hw_phi = UgtEgamma.hw_phi.rescaled(SCOUTING_CALO_PHI)


class CaloTau(UgtTau):
    """One tau candidate; scouting converts its azimuth with 0.0435 rad a code."""

    hw_phi = UgtTau.hw_phi.rescaled(SCOUTING_CALO_PHI)


class CaloJet(UgtJet):
    """One jet; scouting converts its azimuth with 0.0435 rad a code."""

    hw_phi = UgtJet.hw_phi.rescaled(SCOUTING_CALO_PHI)


class CaloSums(UgtSums):
    """The six energy sums; scouting converts azimuth with 0.0435 rad a code."""

    hw_etm_phi = UgtSums.hw_etm_phi.rescaled(SCOUTING_CALO_PHI)
    hw_htm_phi = UgtSums.hw_htm_phi.rescaled(SCOUTING_CALO_PHI)
    hw_etmhf_phi = UgtSums.hw_etmhf_phi.rescaled(SCOUTING_CALO_PHI)
    hw_htmhf_phi = UgtSums.hw_htmhf_phi.rescaled(SCOUTING_CALO_PHI)


DMA_WORDS = 59
DMA_GROUPS = {"jet": (10, 3), "eg": (24, 17), "sums": (38,), "tau": (52, 45)}
"""Table -> places of its link words in a DMA block, in the order of output: link 1, link 2."""
DMA_GROUP_WORDS = 6

MISSING_SUMS = ("hw_etm", "hw_htm", "hw_etmhf", "hw_htmhf")


def drop_undefined_azimuth(columns: Columns) -> dict[str, npt.NDArray[np.generic]]:
    """Columns of the sums in which the azimuth of a missing sum of 0 is 0."""
    out = dict(columns)
    for name in MISSING_SUMS:
        out[f"{name}_phi"] = np.where(columns[name] > 0, columns[f"{name}_phi"], np.uint8(0))
    return out


def scouting_centrality(columns: Columns) -> npt.NDArray[np.uint8]:
    """Centrality as the CMS scouting unpacker gives it.

    It keeps two bits of each word and shifts the second pair by 4, so bits 2, 3, 6, 7 are lost;
    the columns hw_cent_low and hw_cent_high hold all eight.
    """
    low, high = columns["hw_cent_low"] & 3, columns["hw_cent_high"] & 3
    return (low | (high << 4)).astype(np.uint8)
