"""Damaged and misshapen ROOT files: what is bad is counted, the rest goes on."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Run
from scout40.streams.sources.root import RootSource
from tests.streams.sources.test_root_nano import central, read, write


def test_damaged_basket_costs_its_chunk_only(tmp_path: Path) -> None:
    rows = 3000
    data = {"run": np.arange(rows, dtype=np.uint32), "L1_A": np.arange(rows) % 2 == 1}
    path = tmp_path / "d.root"
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("Events", {name: v.dtype for name, v in data.items()})
        for start in range(0, rows, 1000):
            tree.extend({name: v[start : start + 1000] for name, v in data.items()})
    with uproot.open(path) as file:
        at = int(file["Events"]["run"].member("fBasketSeek")[1])
    raw = bytearray(path.read_bytes())
    raw[at + 90 : at + 200] = bytes(110)
    path.write_bytes(bytes(raw))
    run = Run(rows_per_block=1000)
    block, _ = read(path, run)
    assert block.crossing["run"].tolist() == [*range(1000), *range(2000, 3000)]
    assert run.ledger["packets"].bad == {"ROOT entries not readable": 1000}
    assert "entries 1000..1999" in run.quarantine.reasons[0]


@pytest.mark.parametrize("part", ["Header", "Footer"])
def test_damaged_rntuple_metadata_are_found_before_they_are_parsed(
    tmp_path: Path, part: str
) -> None:
    # A damaged count of items made uproot loop without end (found by tests/fuzz/fuzz_root.py).
    data, _, _ = central(5, hardware=True)
    path = write(tmp_path / "r.root", data, "RNTuple")
    with uproot.open(path) as file:
        place = file["Events"].member(f"fSeek{part}")
        length = file["Events"].member(f"fNBytes{part}")
    raw = bytearray(path.read_bytes())
    raw[place + length // 2] ^= 0x40
    path.write_bytes(bytes(raw))
    with pytest.raises(BadInput, match=f"RNTuple's {part.lower()} is wrong|not a readable ROOT"):
        RootSource([str(path)])


def test_a_file_that_goes_on_failing_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _, _ = central(50, hardware=True)
    path = write(tmp_path / "c.root", data)
    source = RootSource([str(path)])
    calls = []

    def fail(self: object, *args: object) -> None:
        calls.append(args)
        raise ValueError("damaged")

    monkeypatch.setattr("scout40.streams.sources.central_nano.CentralNano.rows", fail)
    run = Run(rows_per_block=1)
    assert list(source.blocks(run)) == []
    run.ledger.check()
    assert len(calls) == 4
    assert run.ledger["packets"].bad == {"ROOT entries not readable": 50}


def test_lists_where_one_value_is_expected(tmp_path: Path) -> None:
    data, _, _ = central(3, hardware=True)
    data["run"] = ak.Array([[1], [2], [3]])
    run = Run()
    source = RootSource([str(write(tmp_path / "c.root", data))])
    assert list(source.blocks(run)) == []
    assert "field run: has a list per entry" in run.quarantine.reasons[0]


def test_no_trees_at_all(tmp_path: Path) -> None:
    path = tmp_path / "h.root"
    with uproot.recreate(path) as file:
        file["h"] = np.histogram(np.arange(5))
    with pytest.raises(BadInput, match=r"no TTree or RNTuple in this file, it holds h \(TH1"):
        RootSource([str(path)])
    with uproot.recreate(path):
        pass
    with pytest.raises(BadInput, match="it is empty"):
        RootSource([str(path)])
