"""Track-finder words: packing and unpacking, and the places of the fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from scout40.streams.formats.track_finder import (
    CALOSUM_RANGES,
    FIRST_LINK_OF,
    RUN2,
    RUN3,
    TFMU_RANGES,
    BmtfMuonRun2,
    BmtfMuonRun3,
    CaloSumWord,
    EmtfMuonRun2,
    EmtfMuonRun3,
    OmtfMuon,
    finder_of,
    phi_begin,
)
from scout40.streams.layout import Word

WORDS = (BmtfMuonRun2, BmtfMuonRun3, OmtfMuon, EmtfMuonRun2, EmtfMuonRun3)


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word.__name__)
def test_every_field_survives_alone_and_takes_no_other_bit(word: type[Word]) -> None:
    for name, bits in word.fields.items():
        for value in (bits.minimum, bits.limit):
            columns = {other: np.zeros(1, b.dtype) for other, b in word.fields.items()}
            columns[name][0] = value
            packed = word.pack(columns)
            back = word.unpack(packed)
            assert {n: int(v[0]) for n, v in back.items() if v[0]} == (
                {name: value} if value else {}
            )
            assert int(packed[0, bits.word]) == (value & bits.mask) << bits.lo


@given(row=BmtfMuonRun3.strategy())
def test_barrel_round_trip(row: dict[str, int]) -> None:
    columns = {name: np.array([v], BmtfMuonRun3.fields[name].dtype) for name, v in row.items()}
    back = BmtfMuonRun3.unpack(BmtfMuonRun3.pack(columns))
    assert {name: int(values[0]) for name, values in back.items()} == row


def test_places_of_run_2_and_run_3() -> None:
    """Offsets in the track address of the notes, which begins at bit 2 of the high word."""
    address = {"wheel_side": 20, "wheel_num": 18}
    run2 = {"stat1": 14, "stat2": 10, "stat3": 6, "stat4": 2}
    run3 = {"stat4": 14, "stat3": 10, "stat2": 6, "stat1": 2}
    endcap = {f"me{k}_seg": 4 * k - 4 for k in (1, 2, 3, 4)}
    endcap |= {f"me{k}_ch": 4 * k - 3 for k in (1, 2, 3, 4)} | {"track_number": 16}
    for word, places in (
        (BmtfMuonRun2, address | run2),
        (BmtfMuonRun3, address | run3),
        (EmtfMuonRun2, endcap | {"track_bx": 18}),
        (EmtfMuonRun3, endcap),
        (OmtfMuon, {"layers": 0, "weight": 18}),
    ):
        for name, place in places.items():
            assert (word.fields[name].word, word.fields[name].lo) == (1, 2 + place), name
    assert BmtfMuonRun3.fields["hw_pt_unconstrained"].lo == 23
    assert BmtfMuonRun3.fields["hw_dxy"].lo == 2
    assert EmtfMuonRun3.fields["hw_pt_unconstrained"].lo == 20
    assert EmtfMuonRun3.fields["hw_dxy"].lo == 29


def test_one_word_by_hand() -> None:
    """pt 29, quality 7, eta 9, local phi -27 in the low word; charge valid in the high one."""
    low = 29 | 7 << 9 | 9 << 13 | (-27 & 0xFF) << 23
    back = BmtfMuonRun2.unpack(np.array([[low, 2]], np.uint32))
    wanted = {"hw_pt": 29, "hw_qual": 7, "hw_eta": 9, "hw_phi": -27, "hw_sign_valid": 1}
    assert {name: int(values[0]) for name, values in back.items() if values[0]} == wanted


def test_links_and_their_words() -> None:
    assert [finder_of(link) for link in (36, 41, 42, 47, 48, 59, 60, 65, 66, 71)] == [
        *("EMTF+", "EMTF+", "OMTF+", "OMTF+", "BMTF", "BMTF", "OMTF-", "OMTF-", "EMTF-", "EMTF-")
    ]
    assert {finder[:4] for finder in FIRST_LINK_OF} == set(RUN2) == set(RUN3)


def test_global_azimuth_of_a_processor() -> None:
    """Barrel wedges begin at -15 degrees, sectors of the others at +15 degrees; 576 a turn."""
    places = {36: 24, 41: 504, 42: 24, 48: 552, 49: 24, 59: 504, 60: 24, 66: 24, 71: 504}
    assert {link: phi_begin(link) for link in places} == places


def test_ranges_of_the_columns() -> None:
    bit, half = (0, 1), (0, 15)
    expected = {
        "link": (36, 71), "slot": (0, 2), "hw_pt": (0, 511), "hw_pt_unconstrained": (0, 255),
        "hw_dxy": (0, 3), "hw_phi": (-128, 127), "hw_eta": (-256, 255), "hw_hf": bit,
        "hw_sign": bit, "hw_sign_valid": bit, "hw_qual": half, "wheel_side": bit,
        "wheel_num": (0, 3), **{f"stat{k}": half for k in (1, 2, 3, 4)},
        **{f"me{k}_seg": bit for k in (1, 2, 3, 4)}, **{f"me{k}_ch": (0, 7) for k in (1, 2, 3, 4)},
    }  # fmt: skip
    assert expected == TFMU_RANGES
    sums = {"ieta": (0, 27), "iphi": (0, 35), "et": (0, 31)}
    assert sums == CALOSUM_RANGES


def test_six_sums_in_a_word() -> None:
    packed = sum(value << 5 * k for k, value in enumerate((1, 2, 3, 4, 5, 31)))
    back = CaloSumWord.unpack(np.array([packed], np.uint32))
    assert [int(values[0]) for values in back.values()] == [1, 2, 3, 4, 5, 31]
