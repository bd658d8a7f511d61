"""The quarantine: nothing that an earlier run kept is overwritten, and its size is bounded."""

from __future__ import annotations

import json
from pathlib import Path

from scout40.streams.errors import BadInput
from scout40.streams.sources.base import Quarantine


def kept(folder: Path) -> list[tuple[str, bytes]]:
    """(reason, bytes) of every line of the index."""
    lines = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    return [(line["reason"], (folder / line["file"]).read_bytes()) for line in lines]


def test_a_second_run_goes_on_with_the_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "bad"
    for run in (b"first", b"second"):
        quarantine = Quarantine(folder)
        for part in (b" a", b" b"):
            quarantine.put(BadInput((run + part).decode()), run + part)
        assert quarantine.count == 2
    texts = [b"first a", b"first b", b"second a", b"second b"]
    assert kept(folder) == [(text.decode(), text) for text in texts]


def test_limit_is_kept_and_said(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path, limit=10)
    for _ in range(3):
        quarantine.put(BadInput("bad"), b"12345678")
    assert [data for _, data in kept(tmp_path)] == [b"12345678", b"12", b""]
    entries = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert [(entry["bytes"], entry["kept"]) for entry in entries] == [(8, 8), (8, 2), (8, 0)]


def test_without_folder_packets_are_only_counted() -> None:
    quarantine = Quarantine()
    for k in range(30):
        quarantine.put(BadInput(f"bad {k}"), b"x")
    assert quarantine.count == 30
    assert len(quarantine.reasons) == 20
