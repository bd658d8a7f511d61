"""Test vectors of the global trigger: golden counts, re-packed words, bad lines."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.formats.ugt import OBJECT_WORDS, UgtSums
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.testvector import TestVectorSource, layout_of, recognise

DATA_2024 = "L1menu_2024_v1_3_0_data_TestVector_000.txt"
TTBAR_2024 = "L1menu_2024_v1_3_0_ttBar_TestVector_003.txt"
MC_2016 = "TestVector_L1Menu_Collisions2016_v8.txt"
SLOTS_2024 = {"mu": (1, 9), "eg": (9, 21), "tau": (21, 33), "jet": (33, 45)}
SLOTS_2016 = {"mu": (1, 9), "eg": (9, 21), "tau": (21, 29), "jet": (29, 41)}


def read(path: Path) -> Block:
    """The one block of a vector; nothing in it may be bad."""
    run = Run()
    (block,) = TestVectorSource([str(path)]).blocks(run)
    assert run.ledger.balanced
    assert run.ledger["packets"].out == 3564
    return block.check()


def columns(path: Path) -> list[list[int]]:
    """The file by plain Python: one list of integers per line."""
    lines = path.read_text().splitlines()
    return [[int(t, 16 if i else 10) for i, t in enumerate(line.split())] for line in lines]


def test_golden_multiplicities_of_the_2024_data_vector(reference: Path) -> None:
    """Numbers of the format notes: objects per crossing of the public 2024 v1_3_0 data vector."""
    path = reference / "testvectors/ugt" / DATA_2024
    block = read(path)
    assert np.bincount(block.tables["mu"].counts()).tolist() == [1715, 1066, 542, 177, 55, 9]
    means = {name: len(block.tables[name]) / 3564 for name in SLOTS_2024}
    expected = {"mu": 0.83, "eg": 5.9, "tau": 10.9, "jet": 3.7}
    assert {n: round(m, 2 if n == "mu" else 1) for n, m in means.items()} == expected
    assert block.bx.tolist() == list(range(1, 3565))
    assert set(block.orbit.tolist()) == {0}
    assert not block.contiguous
    assert len(block.tables["sums"]) == 3564
    assert (block.crossing["ext"] == [0xF0, 0, 0, 0]).all()
    assert block.crossing["recorded_finor"].all()
    assert block.crossing["extra"].shape == (3564, 6)


@pytest.mark.parametrize(
    ("name", "slots", "first_sum", "ext"),
    [
        (DATA_2024, SLOTS_2024, 45, 57),
        (TTBAR_2024, SLOTS_2024, 45, 57),
        (MC_2016, SLOTS_2016, 41, 45),
    ],
)
def test_repacked_words_equal_the_file(
    reference: Path, name: str, slots: dict[str, tuple[int, int]], first_sum: int, ext: int
) -> None:
    """All declared bits. Bit 27 of e/gamma and tau means nothing; simulation sets it at random."""
    path = reference / "testvectors/ugt" / name
    block, lines = read(path), columns(path)
    for line in lines:
        for low, high in (slots["eg"], slots["tau"]):
            line[low:high] = [word & ~(1 << 27) for word in line[low:high]]
    for table, (low, high) in slots.items():
        objects = block.tables[table]
        words = OBJECT_WORDS[table].pack(objects.columns)[:, 0].tolist()
        for row, line in enumerate(lines):
            got = words[objects.offsets[row] : objects.offsets[row + 1]]
            assert got == line[low : low + len(got)], (table, row)
            # A dropped slot has no object; of muons only the shower bit may be left.
            rest = line[low + len(got) : high]
            assert not any(rest) or (table == "mu" and set(rest) <= {0, 1 << 61}), (table, row)
    number = 6 if name != MC_2016 else 4
    sums = UgtSums.pack(block.tables["sums"].columns)[:, :number].tolist()
    assert sums == [line[first_sum : first_sum + number] for line in lines]
    for column, at in (("ext", ext), ("recorded", ext + 1)):
        values = block.crossing[column].tolist()
        joined = [sum(w << (64 * i) for i, w in enumerate(row)) for row in values]
        assert joined == [line[at] for line in lines]


def test_shower_bits_are_bit_61_of_each_slot(reference: Path) -> None:
    path = reference / "testvectors/ugt" / DATA_2024
    expected = [
        sum(((word >> 61) & 1) << slot for slot, word in enumerate(line[1:9]))
        for line in columns(path)
    ]
    assert sum(expected) > 0
    assert read(path).crossing["shower"].tolist() == expected


def test_the_2016_vector_has_neither_later_muon_fields_nor_hf_sums(reference: Path) -> None:
    block = read(reference / "testvectors/ugt" / MC_2016)
    muons, sums = block.tables["mu"].columns, block.tables["sums"].columns
    assert {"tf_muon_index", "hw_phi", "hw_pt_unconstrained", "hw_dxy"}.isdisjoint(muons)
    assert {"hw_charge_valid", "hw_iso"} <= muons.keys()
    assert not [name for name in sums if UgtSums.fields[name].word > 3]
    assert "hw_htm_phi" in sums
    assert "shower" not in block.crossing
    # BPTX bits of 2016: 32..35, see the public menu of that year.
    assert (block.crossing["ext"] == [0xF00000000, 0, 0, 0]).all()
    assert np.bincount(block.tables["mu"].counts()).tolist() == [1762, 1300, 422, 73, 6, 1]


def test_a_whole_vector_takes_less_than_300_ms(reference: Path) -> None:
    path = reference / "testvectors/ugt" / DATA_2024
    read(path)  # compiles
    best = 1.0
    for _ in range(3):
        start = time.perf_counter()
        read(path)
        best = min(best, time.perf_counter() - start)
    assert best < 0.3


# -- made-up vectors -----------------------------------------------------------------------------


def made(bx: int, words: list[int], muons: int = 8, ext: bool = True) -> str:
    """A line with the given 32-bit words and muon words of pt 1, impact parameter 2."""
    parts = [f"{bx:04d}", *[f"{2 << 62 | 1 << 10:016x}"] * muons, *(f"{w:08x}" for w in words)]
    parts += [f"{1 << 200:064x}"] if ext else []
    return " ".join([*parts, f"{1 << 511 | 1:0128X}", "0"])


@pytest.mark.parametrize(
    ("count", "taus", "sums", "extra"),
    [
        (36, 8, 4, 0),
        (38, 8, 6, 0),
        (40, 12, 4, 0),
        (42, 12, 6, 0),
        (43, 12, 6, 1),
        (48, 12, 6, 6),
        (64, 12, 6, 22),
    ],
)
def test_layouts_of_other_years(
    tmp_path: Path, count: int, taus: int, sums: int, extra: int
) -> None:
    words = list(range(1, count + 1))
    path = tmp_path / "vector.txt"
    path.write_text(made(17, words) + "\n")
    (block,) = TestVectorSource([str(path)]).blocks(Run())
    assert block.bx.tolist() == [18]
    assert block.tables["tau"]["hw_et"].tolist() == words[12 : 12 + taus]
    assert block.tables["jet"]["hw_et"].tolist() == words[12 + taus : 24 + taus]
    assert block.tables["sums"]["hw_ett"].tolist() == [words[24 + taus]]
    assert ("hw_htmhf" in block.tables["sums"].columns) == (sums == 6)
    found = block.crossing["extra"][0].tolist() if extra else []
    assert found == words[count - extra :]
    assert block.crossing["recorded"][0].tolist() == [1, 0, 0, 0, 0, 0, 0, 1 << 63]
    assert block.crossing["ext"][0].tolist() == [0, 0, 0, 1 << 8]


def test_a_vector_without_external_conditions_has_no_such_column(tmp_path: Path) -> None:
    path = tmp_path / "vector.txt"
    path.write_text(made(0, [0] * 42, ext=False))
    (block,) = TestVectorSource([str(path)]).blocks(Run())
    assert "ext" not in block.crossing
    assert "recorded" in block.crossing


def test_interior_empty_slots_stay_trailing_ones_go(tmp_path: Path) -> None:
    words = [0] * 42
    words[1], words[3] = 9, 7
    path = tmp_path / "vector.txt"
    path.write_text(made(0, words) + "\n" + made(1, [0] * 42))
    (block,) = TestVectorSource([str(path)]).blocks(Run())
    assert block.tables["eg"]["hw_et"].tolist() == [0, 9, 0, 7]
    assert block.tables["eg"].offsets.tolist() == [0, 4, 4]
    assert block.tables["sums"].offsets.tolist() == [0, 1, 2]


def test_comments_blank_lines_headers_and_windows_line_ends(tmp_path: Path) -> None:
    text = "Test vector, menu X\n# bx mu eg\n\n" + made(0, [1] * 42) + "\n#\n" + made(5, [2] * 42)
    path = tmp_path / "vector.txt"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert recognise(path.read_bytes()[:4096], str(path))
    run = Run()
    (block,) = TestVectorSource([str(path)]).blocks(run)
    assert block.bx.tolist() == [1, 6]
    assert (run.ledger["packets"].received, run.ledger["packets"].bad.total()) == (2, 0)


def test_bad_lines_are_counted_with_line_number_and_column(tmp_path: Path) -> None:
    good = made(0, [0] * 42)
    bad = {
        2: good.replace(" 00000000", "", 1),
        3: good.replace(" 00000000", " 0000000", 1),
        4: good.replace(" 00000000", " 0000000g", 1),
        5: good.replace("0000 ", "3564 ", 1),
        6: good + " 1",
        7: good[:200],
        9: "-001" + good[4:],
    }
    lines = [bad.get(number, good) for number in range(1, 11)]
    path = tmp_path / "vector.txt"
    path.write_text("\n".join(lines) + "\n")
    run = Run(quarantine=Quarantine(tmp_path / "bad"))
    (block,) = TestVectorSource([str(path)]).blocks(run)
    assert len(block) == 3
    account = run.ledger["packets"]
    assert (account.received, account.out, account.bad.total()) == (10, 3, 7)
    assert run.ledger.balanced
    reasons = dict(zip(bad, run.quarantine.reasons, strict=True))
    assert "line 2" in reasons[2]
    assert "field eg0" in reasons[3]
    assert "line 3: wrong number of digits at column 9, expected 8" in reasons[3]
    assert "line 4: not a number" in reasons[4]
    assert "above 3563" in reasons[5]
    assert "field bx" in reasons[5]
    assert "columns beyond the last" in reasons[6]
    assert "line 7: " in reasons[7]
    assert "not a number at column 0" in reasons[9]
    assert (tmp_path / "bad" / "000003.bin").read_text() == bad[4]


def test_one_damaged_first_line_does_not_set_the_layout(tmp_path: Path) -> None:
    good = made(0, [0] * 48)
    path = tmp_path / "vector.txt"
    path.write_text("\n".join([good.replace(" 00000000", "", 1), good, good]))
    run = Run()
    (block,) = TestVectorSource([str(path)]).blocks(run)
    assert len(block) == 2
    assert run.ledger["packets"].bad.total() == 1


def test_several_vectors_are_told_apart_by_orbit(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(made(0, [0] * 42) + "\n")
    source = TestVectorSource([str(tmp_path / "a"), str(tmp_path / "b")])
    assert source.total == 2
    assert [block.orbit.tolist() for block in source.blocks(Run())] == [[0], [1]]


def test_rows_per_block_bounds_the_blocks(tmp_path: Path) -> None:
    path = tmp_path / "vector.txt"
    path.write_text("\n".join(made(bx, [bx] * 42) for bx in range(10)))
    parts = list(TestVectorSource([str(path)]).blocks(Run(rows_per_block=4)))
    assert [len(part) for part in parts] == [4, 4, 2]
    assert [part.origin.sequence for part in parts] == [0, 1, 2]
    assert [int(part.bx[0]) for part in parts] == [1, 5, 9]


def test_many_short_lines_do_not_take_memory_per_column(tmp_path: Path) -> None:
    path = tmp_path / "vector.txt"
    path.write_text(made(0, [0] * 42) + "\n" * 2_000_000 + made(1, [0] * 42))
    run = Run()
    assert sum(len(block) for block in TestVectorSource([str(path)]).blocks(run)) == 2


@pytest.mark.parametrize("text", ["", "hello\n", "0000 12 34\n", "#only a comment\n"])
def test_what_is_no_vector_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "vector.txt"
    path.write_text(text)
    assert not recognise(text.encode(), str(path))
    with pytest.raises(BadInput, match=r"vector\.txt"):
        TestVectorSource([str(path)])


def test_layout_of_a_line_needs_every_part() -> None:
    good = made(0, [0] * 42).encode()
    assert layout_of(good) is not None
    assert layout_of(good.replace(b"0000 ", b"bx00 ", 1)) is None
    assert layout_of(b" ".join(good.split()[:-3])) is not None  # objects alone are enough
    swapped = good.split()
    swapped[-3], swapped[-2] = swapped[-2], swapped[-3]
    assert layout_of(b" ".join(swapped)) is None


def test_random_bytes_are_survived(tmp_path: Path) -> None:
    rng = random.Random(1)
    good = made(0, [0] * 42).encode()
    path = tmp_path / "vector.txt"
    for _ in range(300):
        data = bytearray(good + b"\n" + good)
        for _ in range(rng.randint(1, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        run = Run()
        try:
            rows = sum(len(block) for block in TestVectorSource([str(path)]).blocks(run))
        except BadInput:
            continue
        assert run.ledger.balanced
        assert rows == run.ledger["packets"].out
