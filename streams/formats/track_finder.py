"""Words of the muon track finders at the input of the global muon trigger (uGMT).

36 links carry three muons a crossing, in two 32-bit words each: link 36..41 EMTF+, 42..47 OMTF+,
48..59 BMTF, 60..65 OMTF-, 66..71 EMTF-. The low words are alike; bits 2..30 of the high word are
the track address, whose parts differ by track finder and, since Run 3, share the word with the
momentum without vertex constraint and the impact parameter.

Sources: CMS translators of regional muons and their track addresses, as written down in the
project's format notes; low word, charge bits and the Run 2 barrel address were checked against
the uGMT test benches of 2016.
"""

from __future__ import annotations

from scout40.streams.formats.scales import (
    MUON_ETA,
    MUON_PHI,
    MUON_PT,
    MUON_PT_UNCONSTRAINED,
)
from scout40.streams.layout import Bits, Word

FIRST_LINK, LINKS, SLOTS = 36, 36, 3
"""Links of the track finders and muons on each; index of a muon = 3 * (link - 36) + slot."""


class TrackFinderMuon(Word, words=2):
    """What the words of all track finders have in common; hw_pt 0 means no muon."""

    hw_pt = Bits(0, 9, "transverse momentum, 0 = no muon", word=0, scale=MUON_PT)
    hw_qual = Bits(9, 4, "quality", word=0)
    hw_eta = Bits(13, 9, "pseudorapidity", word=0, signed=True, scale=MUON_ETA)
    hw_hf = Bits(22, 1, "BMTF, OMTF: eta is fine; EMTF: halo muon", word=0)
    hw_phi = Bits(23, 8, "azimuth inside the processor", word=0, signed=True, scale=MUON_PHI)
    hw_sign = Bits(0, 1, "charge sign, 1 = negative", word=1)
    hw_sign_valid = Bits(1, 1, "charge sign is valid", word=1)


class BmtfMuonRun2(TrackFinderMuon):
    """Barrel muon of Run 2; address 15 means no hit, of station 1 two bits are sent."""

    stat4 = Bits(4, 4, "address in station 4", word=1)
    stat3 = Bits(8, 4, "address in station 3", word=1)
    stat2 = Bits(12, 4, "address in station 2", word=1)
    stat1 = Bits(16, 2, "address in station 1", word=1)
    wheel_num = Bits(20, 2, "wheel", word=1)
    wheel_side = Bits(22, 1, "detector side, 1 = negative", word=1)


class BmtfMuonRun3(TrackFinderMuon):
    """Barrel muon of Run 3 (Kalman): stations in the opposite order, two bits of station 4."""

    hw_dxy = Bits(2, 2, "impact parameter", word=1)
    stat1 = Bits(4, 4, "address in station 1", word=1)
    stat2 = Bits(8, 4, "address in station 2", word=1)
    stat3 = Bits(12, 4, "address in station 3", word=1)
    stat4 = Bits(16, 2, "address in station 4", word=1)
    wheel_num = Bits(20, 2, "wheel", word=1)
    wheel_side = Bits(22, 1, "detector side, 1 = negative", word=1)
    hw_pt_unconstrained = Bits(
        23, 8, "transverse momentum without vertex constraint, 0 = none", word=1,
        scale=MUON_PT_UNCONSTRAINED,
    )  # fmt: skip


class OmtfMuon(TrackFinderMuon):
    """Muon of the overlap of barrel and endcap."""

    layers = Bits(2, 18, "layers that were hit", word=1)
    weight = Bits(20, 5, "weight of the pattern", word=1)


class EmtfMuon(TrackFinderMuon):
    """What endcap muons of Run 2 and Run 3 have in common."""

    me1_seg = Bits(2, 1, "segment in station 1", word=1)
    me1_ch = Bits(3, 3, "chamber in station 1, 0 = none", word=1)
    me2_seg = Bits(6, 1, "segment in station 2", word=1)
    me2_ch = Bits(7, 3, "chamber in station 2, 0 = none", word=1)
    me3_seg = Bits(10, 1, "segment in station 3", word=1)
    me3_ch = Bits(11, 3, "chamber in station 3, 0 = none", word=1)
    me4_seg = Bits(14, 1, "segment in station 4", word=1)
    me4_ch = Bits(15, 3, "chamber in station 4, 0 = none", word=1)
    track_number = Bits(18, 2, "number of the track", word=1)


class EmtfMuonRun2(EmtfMuon):
    """Endcap muon of Run 2."""

    track_bx = Bits(20, 11, "bunch crossing as counted by the track finder", word=1)


class EmtfMuonRun3(EmtfMuon):
    """Endcap muon of Run 3; momentum and impact parameter stand where the crossing was."""

    hw_pt_unconstrained = Bits(
        20, 8, "transverse momentum without vertex constraint, 0 = none", word=1,
        scale=MUON_PT_UNCONSTRAINED,
    )  # fmt: skip
    hw_dxy = Bits(29, 2, "impact parameter", word=1)


class CaloSumWord(Word):
    """Six neighbouring energy sums of one ring, 5 bits each; six words make a ring."""

    et0 = Bits(0, 5, "transverse energy of the first region")
    et1 = Bits(5, 5, "transverse energy of the second region")
    et2 = Bits(10, 5, "transverse energy of the third region")
    et3 = Bits(15, 5, "transverse energy of the fourth region")
    et4 = Bits(20, 5, "transverse energy of the fifth region")
    et5 = Bits(25, 5, "transverse energy of the sixth region")


FINDERS = ("EMTF+", "OMTF+", "BMTF", "OMTF-", "EMTF-")
"""Track finders in the order of their links."""

FIRST_LINK_OF = {"EMTF+": 36, "OMTF+": 42, "BMTF": 48, "OMTF-": 60, "EMTF-": 66}

RUN2: dict[str, type[Word]] = {"BMTF": BmtfMuonRun2, "OMTF": OmtfMuon, "EMTF": EmtfMuonRun2}
RUN3: dict[str, type[Word]] = {"BMTF": BmtfMuonRun3, "OMTF": OmtfMuon, "EMTF": EmtfMuonRun3}
"""Track finder -> its word."""

RINGS, REGIONS = 28, 36
"""Calorimeter sums: rings in eta, regions in azimuth."""


def finder_of(link: int) -> str:
    """Track finder of a link 36..71, as in FINDERS."""
    return [name for name in FINDERS if link >= FIRST_LINK_OF[name]][-1]


PHI_TURN = 576
"""Units of the global azimuth in a turn."""


def phi_begin(link: int) -> int:
    """Global azimuth 0..575 of azimuth 0 inside the processor of a link 36..71."""
    finder = finder_of(link)
    processor = link - FIRST_LINK_OF[finder]
    begin = 48 * processor - 24 if finder == "BMTF" else 96 * processor + 24
    return begin % PHI_TURN


class TrackFinderPlace(Word):
    """What a row of the table ``tfmu`` has besides a link's words, or with more bits than they.

    No link carries this word.
    """

    link = Bits(0, 7, "input link, 36..71")
    slot = Bits(7, 2, "place of the muon on its link, 0..2")
    hw_phi = Bits(9, 10, "azimuth inside the processor", signed=True, scale=MUON_PHI)
    # Station 4 (Run 2: station 1) is sent with two bits, but addresses have four.
    stat1 = Bits(19, 4, "address in station 1")
    stat4 = Bits(23, 4, "address in station 4")


TFMU_WORDS: tuple[type[Word], ...] = (TrackFinderPlace, BmtfMuonRun3, EmtfMuonRun3)
"""Declare the columns of the table ``tfmu``; of a column in two words, the first counts."""

_PLACE, _BARREL, _ENDCAP = TrackFinderPlace.fields, BmtfMuonRun3.fields, EmtfMuon.fields

TFMU: dict[str, Bits] = {
    **{name: _PLACE[name] for name in ("link", "slot")},
    **{
        name: _BARREL[name]
        for name in (
            *("hw_pt", "hw_pt_unconstrained", "hw_dxy", "hw_phi", "hw_eta", "hw_hf"),
            *("hw_sign", "hw_sign_valid", "hw_qual", "wheel_side", "wheel_num"),
        )
    },
    **{name: _PLACE.get(name, _BARREL[name]) for name in _BARREL if name[:4] == "stat"},
}
"""Columns of the table ``tfmu`` and what links can send in them."""

EMTF_ADDRESS: dict[str, Bits] = {
    f"me{k}_{part}": _ENDCAP[f"me{k}_{part}"] for k in (1, 2, 3, 4) for part in ("seg", "ch")
}
"""Columns that ``tfmu`` has besides where endcap track addresses are known."""

TFMU_DTYPES = {name: bits.dtype for name, bits in (TFMU | EMTF_ADDRESS).items()} | {
    "hw_phi": _PLACE["hw_phi"].dtype
}
"""NumPy types of the columns; hw_phi has room for azimuths beyond its 8 bits."""

TFMU_RANGES = {name: (bits.minimum, bits.limit) for name, bits in (TFMU | EMTF_ADDRESS).items()} | {
    "link": (FIRST_LINK, FIRST_LINK + LINKS - 1),
    "slot": (0, SLOTS - 1),
}
"""Lowest and highest value of every column on a link."""

CALOSUM_RANGES = {
    "ieta": (0, RINGS - 1),
    "iphi": (0, REGIONS - 1),
    "et": (0, CaloSumWord.fields["et0"].limit),
}
"""Columns of the table ``calosum``, all uint8: lowest and highest value."""
