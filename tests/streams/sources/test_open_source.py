"""Inputs are told apart by content, expanded from globs and folders, refused with a reason."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sinks.arrow import ArrowSink
from scout40.streams.sources import KINDS, _module, expanded, open_source
from scout40.streams.sources.arrow import ArrowSource
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource
from scout40.streams.sources.testvector import TestVectorSource


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The packaged raw file under a name that says nothing."""
    place = resources.files("scout40.configs").joinpath("samples", "demo.raw")
    target = tmp_path / "data" / "file.txt"
    target.parent.mkdir()
    shutil.copy(str(place), target)
    return target


def write_arrow(path: Path, layout: str = "nested") -> Path:
    block = Block(0, 1, np.zeros(2, np.uint32), np.arange(1, 3, dtype=np.uint16), contiguous=True)
    with ArrowSink(path, layout=layout) as sink:  # type: ignore[arg-type]
        sink.write(block)
        sink.close("complete")
    return path


def test_content_decides_not_the_name(raw: Path, tmp_path: Path) -> None:
    assert isinstance(open_source([str(raw)]), RawSource)
    arrow = write_arrow(tmp_path / "x.parquet")
    renamed = arrow.rename(tmp_path / "x.raw")
    assert isinstance(open_source([str(renamed)]), ArrowSource)


def test_folder_glob_and_url_of_a_file(raw: Path) -> None:
    shutil.copy(raw, raw.with_name("other"))
    both = [str(raw), str(raw.with_name("other"))]
    assert expanded([str(raw.parent)]) == sorted(both)
    assert expanded([str(raw.parent / "*")]) == sorted(both)
    assert expanded([str(raw.parent.parent / "**" / "other")]) == both[1:]
    assert expanded([f"file://{raw}"]) == both[:1]
    assert isinstance(open_source([str(raw.parent)]), RawSource)


def test_folder_of_tables_stays_one(tmp_path: Path) -> None:
    folder = write_arrow(tmp_path / "out", layout="tables")
    assert expanded([str(folder)]) == [str(folder)]
    assert isinstance(open_source([str(folder)]), ArrowSource)


def test_hidden_files_of_a_folder_are_not_read(raw: Path) -> None:
    (raw.parent / ".hidden").write_bytes(b"RAW_")
    (raw.parent / "_SUCCESS").write_bytes(b"")
    assert expanded([str(raw.parent)]) == [str(raw)]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty file"), (b"hello, world\n" * 20, "not recognised .begins 68 65 6c 6c 6f")],
)
def test_bad_content(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=message) as caught:
        open_source([str(path)])
    assert str(path) in str(caught.value)


def test_unknown_content_lists_what_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "thing"
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(BadInput) as caught:
        open_source([str(path)])
    for _, text in KINDS.values():
        assert text in str(caught.value)


def test_folder_of_unknown_files_says_what_is_in_it(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"notes{number}").write_bytes(b"hello" if number else b"")
    with pytest.raises(BadInput, match="none of 4 inputs can be used: ") as caught:
        open_source([str(tmp_path)])
    text = str(caught.value)
    assert f"{tmp_path}/notes0: empty file" in text
    assert f"{tmp_path}/notes2: content not recognised (begins 68 65 6c 6c 6f); ...; acc" in text
    assert text.count("accepted: ") == 1


def test_missing_things(tmp_path: Path) -> None:
    for path, message in (
        ("nothing", "no such file"), ("*.root", "no file matches"), ("", "folder without files"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=message):
            open_source([str(tmp_path / path)])
    with pytest.raises(BadInput, match="no input"):
        open_source([])


def test_different_kinds_are_refused(raw: Path, tmp_path: Path) -> None:
    arrow = write_arrow(tmp_path / "x.arrow")
    with pytest.raises(BadInput, match="different kinds"):
        open_source([str(raw), str(arrow)])


@pytest.mark.parametrize("content", [b"", b"hello, world\n" * 20])
def test_bad_file_among_good_raw_files_is_counted(raw: Path, content: bytes) -> None:
    bad = raw.with_name("bad")
    bad.write_bytes(content)
    run = Run()
    rows = sum(len(block) for block in open_source([str(raw), str(bad)]).blocks(run))
    packets = run.ledger["packets"]
    assert rows == 640
    assert (packets.received, packets.out, packets.bad.total()) == (33, 32, 1)


def test_bad_file_among_arrow_files_is_refused(tmp_path: Path) -> None:
    arrow = write_arrow(tmp_path / "x.arrow")
    bad = tmp_path / "bad"
    bad.write_bytes(b"")
    with pytest.raises(BadInput, match="empty file"):
        open_source([str(arrow), str(bad)])
    with pytest.raises(BadInput, match="no such file"):
        open_source([str(arrow), str(tmp_path / "absent")])


def test_unfinished_output_is_refused(tmp_path: Path) -> None:
    left = tmp_path / ".out.arrow.123.scout40-partial"
    left.write_bytes(b"ARROW1")
    with pytest.raises(BadInput, match="never finished"):
        open_source([str(left)])


@pytest.mark.parametrize("names", [[], ["mu.parquet"], ["events.parquet", "mu.parquet"]])
def test_unfinished_folder_is_refused(tmp_path: Path, names: list[str]) -> None:
    """Killed at any moment: before its first file, between two, with all of them growing."""
    left = tmp_path / ".flat.123.scout40-partial"
    left.mkdir()
    for name in names:
        (left / name).write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="never finished"):
        open_source([str(left)])


def test_map_is_for_root_only(raw: Path) -> None:
    with pytest.raises(BadConfig, match="ROOT"):
        open_source([str(raw)], map_file="map.toml")


def test_every_kind_offers_what_is_promised() -> None:
    for kind, (name, _) in KINDS.items():
        module = _module(kind)
        assert callable(getattr(module, name))
        assert module.recognise(b"nothing of the kind, just text\n" * 9, "x") is False
        assert module.recognise(b"", "x") is False


def test_reference_files(reference: Path) -> None:
    vector = reference / "testvectors/ugt/TestVector_L1Menu_Collisions2016_v8.txt"
    assert isinstance(open_source([str(vector)]), TestVectorSource)
    for folder, suffix, kind in (
        ("nano", "root", "root"), ("testvectors/phase2", "data", "phase2"),
        ("testvectors/phase2", "dump", "phase2"),
    ):  # fmt: skip
        for path in (reference / folder).glob(f"*.{suffix}"):
            head = path.read_bytes()[:4096]
            recognised = [name for name in KINDS if _module(name).recognise(head, str(path))]
            assert recognised == [kind], path
