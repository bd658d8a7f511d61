"""uGMT test benches: events, both vintages, and bad lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.ugmt_bench import UgmtBenchSource, recognise

NONE = "0 0 0 0 0 0 0 1"
PLACES = {"EMTF+": 18, "OMTF+": 18, "BMTF": 36, "OMTF-": 18, "EMTF-": 18}
EXPECTED = (*((0, 4, "EIMD"), (4, 8, "OIMD"), (8, 16, "BIMD"), (16, 20, "OIMD"), (20, 24, "EIMD")),)


def event(number: int, rows: dict[str, str], *, new: bool = True, calo: bool = True) -> list[str]:
    """Lines of an event; ``rows`` replaces those of a name and place, "BMTF 3" for instance."""
    lines = ["#" * 40, f"# Event: {number}", "#" * 40, "# Calo sums:"]
    if calo:
        lines += [f"CALO{k} " + " ".join(["0"] * 36) for k in range(28)]
    names = [f"{name} {k}" for name, count in PLACES.items() for k in range(count)]
    lines += [f"{name} {NONE}" for name in names]
    lines += ["ETRK+ 0 0 0 0 0 0 0 0 0"]
    track = "0 0 0 0 0 0 0 0 0 0 1" if new else "0 0 0"
    lines += ["BTRK " + " ".join([track] * 3)] * 12
    lines += [f"{name} {k} {NONE}" for low, high, name in EXPECTED for k in range(low, high)]
    lines += [f"OUT {k} {NONE}" + (" 0 0" if new else " 0") for k in range(8)]
    for key, values in rows.items():
        name, at = key.split()
        found = [i for i, line in enumerate(lines) if line.split()[0] == name]
        lines[found[int(at)]] = f"{name} {values}"
    return lines


def read(folder: Path, lines: list[str]) -> tuple[list[Block], Run]:
    path = folder / "bench.txt"
    path.write_text("# Pattern for testbench\n" + "\n".join(lines) + "\n")
    assert isinstance(open_source([str(path)]), UgmtBenchSource)
    run = Run(quarantine=Quarantine(folder / "bad"), rows_per_block=2)
    blocks = list(UgmtBenchSource([str(path)]).blocks(run))
    run.ledger.check()
    return blocks, run


def test_muons_addresses_sums_and_expectations(tmp_path: Path) -> None:
    track = "0 0 0 0 0 0 0 0 0 0 1"
    rows = {
        "BMTF 3": "3 29 51 9 0 1 7 36 0",
        "BMTF 0": "0 5 570 -9 1 1 4 9 0",
        "EMTF+ 17": "17 30 20 210 1 1 3 33 0",
        "CALO2 0": " ".join(["0"] * 35 + ["31"]),
        "BTRK 1": f"9 27 7 0 1 2 3 8 9 10 0 {track} {track}",
        "BIMD 0": "8 29 51 9 0 1 4 36 0",
        "EIMD 7": "23 30 20 -210 1 1 3 33 0",
        "OUT 1": "1 29 51 9 0 1 4 36 0 2 39",
    }
    [block], run = read(tmp_path, event(7, rows))
    muons = block.tables["tfmu"]
    assert muons["link"].tolist() == [41, 48, 49]
    assert muons["slot"].tolist() == [2, 0, 0]
    # global 20 = 96 * 5 + 24 + 92 - 576; 570 = -24 + 18; 51 = 48 - 24 + 27
    assert muons["hw_phi"].tolist() == [92, 18, 27]
    assert muons["hw_eta"].tolist() == [210, -9, 9]
    address = [int(muons[n][2]) for n in ("wheel_side", "wheel_num", "stat1", "stat2", "stat4")]
    assert address == [1, 2, 3, 8, 10]
    sums = block.tables["calosum"]
    assert [int(sums[n][0]) for n in ("ieta", "iphi", "et")] == [2, 35, 31]
    found = block.tables["expected_intermediate"]
    assert list(zip(found["stream"].tolist(), found["pos"].tolist(), strict=True)) == [
        (2, 0),
        (4, 3),
    ]
    final = {name: values.tolist() for name, values in block.tables["expected_mu"].columns.items()}
    wanted = {"pos": 1, "hw_pt": 29, "hw_phi": 51, "hw_qual": 4, "hw_rank": 36, "hw_iso": 2}
    assert {name: final[name] for name in wanted} == {name: [v] for name, v in wanted.items()}
    assert final["tf_muon_index"] == [39]
    assert block.crossing["event"].tolist() == [7]
    assert run.ledger["packets"].out == 1


def test_the_older_vintage(tmp_path: Path) -> None:
    lines = [line for n in range(3) for line in event(n, {}, new=False, calo=False)]
    blocks, _ = read(tmp_path, lines)
    assert [len(block) for block in blocks] == [2, 1]
    assert "calosum" not in blocks[0].tables
    assert "tf_muon_index" not in blocks[0].tables["expected_mu"].columns
    assert blocks[1].bx.tolist() == [3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.replace("BMTF 3 0", "BMTF 3 x", 1), "field hw_pt: line .*'x', expected"),
        (lambda s: s.replace("BMTF 3 0", "BMTF 3 512", 1), r"field hw_pt: .*0\.\.511"),
        (lambda s: s.replace("BMTF 3 0", "BMTF 2 0", 1), "BMTF 2 repeated"),
        (lambda s: s.replace("BMTF 3 0", "BMTF 36 0", 1), "field BMTF: .*place 36"),
        (lambda s: s.replace("BMTF 3 0", "#", 1), "35 lines BMTF in event 1, expected 36"),
        (lambda s: s.replace("CALO3 0", "CALO3 32", 1), "field CALO3: .*'32', expected"),
        (lambda s: s.replace("CALO3 0", "CALO3", 1), "field CALO3: .*35 sums"),
        (lambda s: s.replace("CALO27", "CALO28", 1), "'CALO28', expected CALO0..CALO27"),
        (lambda s: s.replace("OUT 7", "OUT 8", 1), "field OUT: .*place 8"),
        (lambda s: s.replace("OUT 7", "IFR 7", 1), "unknown line 'IFR'"),
        (lambda s: s.replace("BTRK 0", "BTRK", 1), "field BTRK: .*32 columns"),
        (lambda s: s.replace("BIMD 8", "BIMD 7", 1), "field BIMD: .*place 7"),
        (lambda s: s + "\n" + "ETRK+ 0\n" * 1100, "more than 1024 lines"),
    ],
)
def test_a_bad_line_costs_its_event(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    bad = change("\n".join(event(1, {})))
    assert bad != "\n".join(event(1, {}))
    blocks, run = read(tmp_path, [*event(0, {}), bad, *event(2, {})])
    assert [block.crossing["event"].tolist() for block in blocks] == [[0, 2]]
    assert dict(run.ledger["packets"].bad) == {"event not readable": 1}
    with pytest.raises(BadInput, match=message):
        raise BadInput(run.quarantine.reasons[0])
    assert "bench.txt" in run.quarantine.reasons[0]
    assert "line " in run.quarantine.reasons[0]


def test_what_is_no_bench(tmp_path: Path) -> None:
    path = tmp_path / "b.txt"
    path.write_text("# Event: 0\nIFR0 1 2\n")
    assert not recognise(path.read_bytes(), str(path))
    with pytest.raises(BadInput, match="unknown line 'IFR0'"):
        UgmtBenchSource([str(path)])
    path.write_text("nothing\n")
    with pytest.raises(BadInput, match="no line '# Event: n'"):
        UgmtBenchSource([str(path)])


def test_vintages_are_not_mixed(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, new in zip(paths, (True, False), strict=True):
        path.write_text("\n".join(event(0, {}, new=new)))
    with pytest.raises(BadInput, match="different vintages"):
        UgmtBenchSource([str(path) for path in paths])


EVENTS = {"JPsiToMuMu_etaPhiRestricted": 150, "badMuonMatches": 100, "fwd_iso_scan": 10,
          "iso_test": 21, "many_events": 91, "single_muons": 108, "single_tfs": 6, "sort_test": 7,
          "ttbar_small_sample": 100}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_of_the_files_is_read(reference: Path, name: str) -> None:
    path = reference / "testvectors" / "ugmt_2016" / "testbench" / f"{name}.txt"
    source = open_source([str(path)])
    assert isinstance(source, UgmtBenchSource)
    run = Run()
    blocks = list(source.blocks(run))
    assert run.ledger["packets"].out == source.total == EVENTS[name]
    numbers = np.concatenate([block.crossing["event"] for block in blocks])
    assert numbers.tolist() == list(range(EVENTS[name]))


def test_serialised_benches_are_not_taken(reference: Path) -> None:
    folder = reference / "testvectors" / "ugmt_2016" / "testbench"
    with pytest.raises(BadInput, match="content not recognised"):
        open_source([str(folder / "integration_many_events.txt")])
