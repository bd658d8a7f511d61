"""Pattern files of MP7 boards: frames to crossings, words to muons, damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.formats.track_finder import BmtfMuonRun3, EmtfMuonRun3
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.mp7_pattern import Mp7PatternSource, recognise
from scout40.streams.sources.ugmt_bench import UgmtBenchSource

LINKS = 72
Frame = dict[int, int]


def text(frames: list[Frame | None], first: int = 0) -> str:
    """A file: words by link of each frame, None is a frame that is not valid."""
    lines = [
        "Board test",
        " Quad/Chan : " + " ".join(f"q{k // 4:02}c{k % 4}" for k in range(LINKS)),
    ]
    lines.append("      Link : " + " ".join(f"{k:02}" for k in range(LINKS)))
    for number, frame in enumerate(frames, first):
        valid = int(frame is not None)
        words = [f"{valid}v{(frame or {}).get(link, 0):08x}" for link in range(LINKS)]
        lines.append(f"Frame {number:04} : " + " ".join(words))
    return "\n".join(lines) + "\n"


def crossing(pt: int, link: int = 50, slot: int = 1) -> list[Frame | None]:
    """Six frames with one muon."""
    frames: list[Frame | None] = [{} for _ in range(6)]
    frames[2 * slot] = {link: pt}
    frames[2 * slot + 1] = {link: 2}
    return frames


def read(folder: Path, content: str, **settings: int) -> tuple[list[Block], Run]:
    path = folder / "pattern.txt"
    path.write_text(content)
    assert recognise(content[:4096].encode(), str(path))
    run = Run(quarantine=Quarantine(folder / "bad"), **settings)  # type: ignore[arg-type]
    blocks = list(Mp7PatternSource([str(path)]).blocks(run))
    run.ledger.check()
    return blocks, run


def test_the_first_valid_frame_begins_a_crossing(tmp_path: Path) -> None:
    frames = [None] * 5 + crossing(7) + crossing(9) + [None] * 2 + crossing(11) + [None]
    blocks, run = read(tmp_path, text(frames), rows_per_block=2)
    assert [len(block) for block in blocks] == [2, 1]
    assert [block.tables["tfmu"]["hw_pt"].tolist() for block in blocks] == [[7, 9], [11]]
    assert blocks[0].tables["tfmu"]["link"].tolist() == [50, 50]
    assert blocks[0].tables["tfmu"]["slot"].tolist() == [1, 1]
    assert [block.bx.tolist() for block in blocks] == [[1, 2], [3]]
    assert blocks[1].crossing["event"].tolist() == [2]
    assert run.ledger["packets"].out == 18


def test_sums_of_the_rings(tmp_path: Path) -> None:
    frames: list[Frame | None] = [{8: 31, 35: 0} for _ in range(6)]
    frames[5] = {35: 17 << 25}
    blocks, _ = read(tmp_path, text(frames))
    sums = blocks[0].tables["calosum"]
    assert sums["ieta"].tolist() == [0, 0, 0, 0, 0, 27]
    assert sums["iphi"].tolist() == [0, 6, 12, 18, 24, 35]
    assert sums["et"].tolist() == [31] * 5 + [17]
    assert len(blocks[0].tables["tfmu"]) == 0


def test_invalid_words_carry_nothing(tmp_path: Path) -> None:
    content = text(crossing(7)).replace("1v00000007", "0v00000007")
    blocks, _ = read(tmp_path, content)
    assert len(blocks[0].tables["tfmu"]) == 0


def test_output_muons(tmp_path: Path) -> None:
    frames: list[Frame | None] = [{k: 99 for k in range(4)} for _ in range(6)]
    for n in range(3):
        frames[2][n], frames[3][n] = (10 + 2 * n) << 10, 8  # type: ignore[index]
        frames[4][n], frames[5][n] = (11 + 2 * n) << 10, 12  # type: ignore[index]
    for k in (2, 3, 4, 5):
        frames[k][3] = 0  # type: ignore[index]
    blocks, _ = read(tmp_path, text(frames))
    muons = blocks[0].tables["mu"]
    assert muons["hw_pt"].tolist() == [10, 11, 12, 13, 14, 15]
    assert muons["hw_sign"].tolist() == [0, 1, 0, 1, 0, 1]
    assert "tf_muon_index" not in muons.columns  # the words of 2016 end before it
    frames[3][0] = 8 | 41 << 4  # type: ignore[index]
    blocks, _ = read(tmp_path, text(frames))
    assert blocks[0].tables["mu"]["tf_muon_index"].tolist() == [41, 0, 0, 0, 0, 0]


def test_words_of_run_3(tmp_path: Path) -> None:
    barrel = {"hw_pt": 3, "hw_dxy": 2, "stat1": 9, "stat4": 1, "wheel_num": 2, "wheel_side": 1}
    barrel |= {"hw_pt_unconstrained": 200, "hw_phi": -4, "hw_eta": -9}
    endcap = {"hw_pt": 5, "hw_dxy": 1, "me1_ch": 6, "me4_seg": 1, "hw_pt_unconstrained": 77}
    frames: list[Frame | None] = [{} for _ in range(6)]
    for link, word, values in ((59, BmtfMuonRun3, barrel), (36, EmtfMuonRun3, endcap)):
        packed = word.pack({name: np.array([v]) for name, v in values.items()})[0]
        for half in (0, 1):
            frames[half][link] = int(packed[half])  # type: ignore[index]
    path = tmp_path / "p.txt"
    path.write_text(text(frames))
    [block] = Mp7PatternSource([str(path)], run3=True).blocks(Run())
    rows = [{n: int(v[k]) for n, v in block.tables["tfmu"].columns.items()} for k in (0, 1)]
    for row, wanted in zip(rows, (endcap, barrel), strict=True):
        assert {name: row[name] for name in wanted} == wanted
    assert [row["link"] for row in rows] == [36, 59]


def test_a_bad_line_costs_one_crossing(tmp_path: Path) -> None:
    lines = text(crossing(7) + crossing(8) + crossing(9)).splitlines()
    lines[3 + 7] = lines[3 + 7].replace("1v00000000", "1v0000000g", 1)
    blocks, run = read(tmp_path, "\n".join(lines))
    assert blocks[0].tables["tfmu"]["hw_pt"].tolist() == [7, 9]
    assert blocks[0].crossing["event"].tolist() == [0, 2]
    account = run.ledger["packets"]
    assert (account.received, account.out) == (18, 12)
    assert dict(account.bad) == {"crossing without six good frames": 6}
    assert "line 11: '1v0000000g', expected" in run.quarantine.reasons[0]
    assert "field link 0" in run.quarantine.reasons[0]


@pytest.mark.parametrize("change", ["missing", "repeated", "short", "number", "long"])
def test_other_damage(tmp_path: Path, change: str) -> None:
    lines = text(crossing(7) + crossing(8) + crossing(9)).splitlines()
    at = 3 + 8
    if change == "missing":
        del lines[at]
    elif change == "repeated":
        lines.insert(at, lines[at])
    else:
        lines[at] = {
            "short": lines[at][:300],
            "number": lines[at].replace("Frame 0008", "Frame x"),
            "long": lines[at] + " 1v00000000" * 9000,
        }[change]
    blocks, run = read(tmp_path, "\n".join(lines))
    found = blocks[0].tables["tfmu"]["hw_pt"].tolist()
    assert found == ([7, 8, 9] if change == "repeated" else [7, 9])
    assert run.ledger["packets"].bad.total() == {"missing": 5, "repeated": 1}.get(change, 6)
    assert run.quarantine.reasons


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text([None] * 7), "no complete crossing: no frame with valid words"),
        (text(crossing(7)[:5]), "crossing without six good frames, 5 found"),
        (text([{0: 1, 40: 1}] * 6), "neither the input nor the output"),
        (text(crossing(7)).replace("Link : 00 01", "Link : 00 00"), "link numbers repeated"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "p.txt"
    path.write_text(content)
    with pytest.raises(BadInput, match=message) as caught:
        Mp7PatternSource([str(path)])
    assert "p.txt" in str(caught.value)


def test_input_and_output_are_not_mixed(tmp_path: Path) -> None:
    paths = []
    for name, frames in (("a", crossing(7)), ("b", [{2: 9}] * 6)):
        paths.append(str(tmp_path / name))
        (tmp_path / name).write_text(text(frames))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="mixed"):
        Mp7PatternSource(paths)


def table(source: Mp7PatternSource | UgmtBenchSource, name: str, columns: list[str]) -> np.ndarray:
    """Rows (event, columns) of all blocks, in order."""
    parts = []
    for block in source.blocks(Run()):
        found = block.tables[name]
        event = np.repeat(block.time(), found.counts())
        parts.append(np.stack([event, *(found[c].astype(np.int64) for c in columns)], axis=1))
    return np.concatenate(parts)


def test_words_equal_the_test_benches(reference: Path) -> None:
    """Numbers of the notes: 9905 muons and 5936 rings of the files that exist in both forms."""
    folder = reference / "testvectors" / "ugmt_2016"
    columns = ["link", "slot", "hw_pt", "hw_phi", "hw_eta", "hw_sign", "hw_sign_valid", "hw_qual"]
    muons = rings = 0
    for name in ("many_events", "iso_test", "ttbar_small_sample"):
        pattern = open_source([str(folder / "mp7" / f"{name}.txt")])
        bench = open_source([str(folder / "testbench" / f"{name}.txt")])
        assert isinstance(pattern, Mp7PatternSource)
        assert isinstance(bench, UgmtBenchSource)
        found = table(pattern, "tfmu", columns)
        np.testing.assert_array_equal(found, table(bench, "tfmu", columns))
        muons += len(found)
        sums = table(pattern, "calosum", ["ieta", "iphi", "et"])
        np.testing.assert_array_equal(sums, table(bench, "calosum", ["ieta", "iphi", "et"]))
        rings += 28 * (bench.total or 0)
    assert (muons, rings) == (9905, 5936)


@pytest.mark.parametrize("name", ["many_events", "ttbar_small_sample", "sort_test", "iso_test"])
def test_output_equals_the_test_benches(reference: Path, name: str) -> None:
    folder = reference / "testvectors" / "ugmt_2016"
    pattern = Mp7PatternSource([str(folder / "mp7" / f"{name}_out.txt")])
    bench = UgmtBenchSource([str(folder / "testbench" / f"{name}.txt")])
    found = table(pattern, "mu", ["hw_pt", "hw_phi_at_vtx", "hw_eta_at_vtx", "hw_sign"])
    wanted = table(bench, "expected_mu", ["hw_pt", "hw_phi", "hw_eta", "hw_sign"])
    np.testing.assert_array_equal(found, wanted)
