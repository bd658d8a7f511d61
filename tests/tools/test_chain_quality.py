"""The two columns of output quality: both rules of every muon, whatever firmware runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from scout40.emulator.ugmt import Ugmt
from scout40.emulator.ugmt.firmware import firmware
from scout40.emulator.ugmt.tables import computed_tables
from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats.track_finder import TFMU_DTYPES
from scout40.tools.chain import QUALITIES, Chain


def crowded(crossings: int) -> Block:
    """Crossings with a row on every third place, each fifth of them without a muon."""
    random = np.random.default_rng(5)
    place = np.arange(0, 108, 3)
    index = np.tile(place, crossings)
    n = len(index)
    columns = {name: np.zeros(n, dtype) for name, dtype in TFMU_DTYPES.items()}
    columns["link"][:] = 36 + index // 3
    columns["slot"][:] = index % 3
    side = np.where(index < 36, 1, np.where(index >= 72, -1, random.choice((-1, 1), n)))
    columns["hw_eta"][:] = side * random.integers(1, 200, n)
    for name, limit in (("hw_pt", 200), ("hw_qual", 16), ("hw_hf", 2), ("hw_sign", 2)):
        columns[name][:] = random.integers(name == "hw_pt", limit, n)
    columns["hw_pt"][np.arange(n) % 5 == 0] = 0
    return Block(
        first_orbit=0,
        last_orbit=1,
        orbit=np.zeros(crossings, np.uint32),
        bx=np.arange(1, crossings + 1, dtype=np.uint16),
        tables={"tfmu": Table(columns, offsets_of(np.full(crossings, len(place))))},
    ).check()


@pytest.mark.parametrize("name", ["2016", "2022", "2024"])
def test_both_rules_of_every_muon(name: str) -> None:
    block, fw = crowded(50), firmware(name)
    mu = Chain("links", firmware=name).stage(None).run(block).tables["mu"]
    assert len(mu) == 50 * 8
    tables = computed_tables(fw)
    for column, rule in QUALITIES.items():
        other = Ugmt(dataclasses.replace(fw, quality=rule), tables)
        assert mu[column].tolist() == other.run(block).tables["mu"]["hw_qual"].tolist()
        assert mu[column].dtype == np.uint8
    assert (mu["hw_qual_2024"] != mu["hw_qual_pre2024"]).any()


def test_the_trigger_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second rule costs no second run."""
    runs: list[int] = []
    run = Ugmt.run

    def counted(self: Ugmt, *arguments: Any) -> Block:
        runs.append(1)
        return run(self, *arguments)

    monkeypatch.setattr(Ugmt, "run", counted)
    Chain("links").stage(None).run(crowded(2))
    assert len(runs) == 1
