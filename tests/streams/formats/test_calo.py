"""Calorimeter packets, DMA and TCP forms, against the reference unpackings."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scout40.streams.formats import calo, ugt
from scout40.streams.formats.scouting import physical
from scout40.streams.sources.raw_tables import unpack
from scout40.streams.sources.raw_unpack import REPEATED_BX, Objects, packets_of

LISTS = {"jet": "jet", "eg": "egamma", "tau": "tau"}
TCP = {"jet": 0, "eg": 1, "tau": 2, "sums": 3}
SUMS = {
    "total_et": "ett", "total_et_em": "ettem", "total_ht": "htt", "miss_et": "etm",
    "miss_et_phi": "etm_phi", "miss_ht": "htm", "miss_ht_phi": "htm_phi", "miss_et_hf": "etmhf",
    "miss_et_hf_phi": "etmhf_phi", "miss_ht_hf": "htmhf", "miss_ht_hf_phi": "htmhf_phi",
    "asym_et": "asymet", "asym_ht": "asymht", "asym_et_hf": "asymethf", "asym_ht_hf": "asymhthf",
    "minbias_hfp0": "mbt0hfp", "minbias_hfm0": "mbt0hfm", "minbias_hfp1": "mbt1hfp",
    "minbias_hfm1": "mbt1hfm", "tower_count": "tower_count",
}  # fmt: skip
"""Column of the reference -> ours without hw_."""


def table(scouting: Any, form: str, name: str) -> Objects:
    if form == "dma":
        found, bad = unpack("calo", scouting.packets("calo_dma"), first_bx=0)
    else:
        raw = scouting.packets("calo_tcp", only=TCP[name])
        found, bad = unpack(f"tcp_{name}", raw, first_bx=0)
    assert not bad
    objects: Objects = found[name]
    return objects


@pytest.mark.parametrize("form", ["dma", "tcp"])
@pytest.mark.parametrize("name", LISTS)
def test_objects(scouting: Any, form: str, name: str) -> None:
    found, wanted = table(scouting, form, name), scouting.expected(f"calo_{form}_{LISTS[name]}")
    scouting.same_places(found, wanted)
    columns = dict(found.columns)
    if name == "jet":  # the reference keeps the jet's quality under this name
        columns["hw_iso"] = columns["hw_qual"]
    scouting.same_integers(columns, wanted, ("hw_et", "hw_eta", "hw_phi", "hw_iso"))
    values = {part: part for part in ("et", "eta", "phi")}
    scouting.same_bits(physical(name, found.columns), wanted, values)
    assert columns["hw_et"].min() > 0


@pytest.mark.parametrize("form", ["dma", "tcp"])
def test_sums(scouting: Any, form: str) -> None:
    found, wanted = table(scouting, form, "sums"), scouting.expected(f"calo_{form}_sums")
    scouting.same_places(found, wanted)
    assert found.counts.max() == 1
    renamed = {theirs: found.columns[f"hw_{ours}"] for theirs, ours in SUMS.items()}
    renamed["centrality"] = calo.scouting_centrality(found.columns)
    scouting.same_integers(renamed, wanted, renamed)
    values = {n[2:]: SUMS[n[2:]] for n in wanted if n.startswith("f_")}
    assert len(values) == 11
    scouting.same_bits(physical("sums", found.columns), wanted, values)


def test_objects_are_the_words_of_the_global_trigger() -> None:
    for ours, theirs in (
        (calo.CaloJet, ugt.UgtJet), (calo.CaloEgamma, ugt.UgtEgamma),
        (calo.CaloTau, ugt.UgtTau), (calo.CaloSums, ugt.UgtSums),
    ):  # fmt: skip
        assert ours.dtype() == theirs.dtype()
        for name, bits in theirs.fields.items():
            assert (ours.fields[name].word, ours.fields[name].lo) == (bits.word, bits.lo)


def dma_block(bx: int) -> npt.NDArray[np.uint32]:
    words = np.zeros(calo.DMA_WORDS, np.uint32)
    words[1] = bx
    return words


def test_azimuth_of_a_missing_sum_of_zero_is_zero() -> None:
    words = dma_block(5)
    words[39 + 2] = 77 << 12  # ETM 0, phi 77, asymmetry 0
    words[39 + 3] = 77 << 12 | 1 | 9 << 20
    found, bad = unpack("calo", packets_of([words], [0], [2]))
    assert not bad
    sums = found["sums"].columns
    names = ("hw_etm_phi", "hw_htm_phi", "hw_asymht")
    assert [int(sums[name][0]) for name in names] == [0, 77, 9]


def test_links_are_put_in_order() -> None:
    words = dma_block(1)
    words[3 + 1], words[10 + 1] = 7, 1000  # link 2 stands before link 1
    found, _ = unpack("calo", packets_of([words], [0], [2]))
    assert found["jet"].columns["hw_et"].tolist() == [1000, 7]
    assert found["jet"].counts.tolist() == [2]
    assert len(found["eg"].counts) == 0


def test_a_crossing_twice_is_a_bad_packet() -> None:
    twice = np.concatenate([dma_block(3), dma_block(4), dma_block(3)])
    found, bad = unpack("calo", packets_of([twice, dma_block(9)], [0, 1], [2, 2]))
    assert [(b.packet, b.status, b.bx) for b in bad] == [(0, REPEATED_BX, 3)]
    assert found["sums"].bx.tolist() == [9]
