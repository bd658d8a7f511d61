"""A little fuzzing of every parser; `run.py` beside this file does as much as one likes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scout40.streams.errors import BadConfig
from tests.fuzz.harness import Target, fuzz, journalled, targets

TARGETS = targets()
COUNT = 300
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_bad_input_comes_out(name: str, tmp_path: Path) -> None:
    count = COUNT if TARGETS[name].weight >= 1 else COUNT // 5  # the slow ones weigh little
    report = fuzz(TARGETS[name], count, keep=tmp_path)
    assert not report.failures, "\n".join(f"{f.what}\n{f.trace}" for f in report.failures.values())
    assert report.inputs == sum(report.ends.values()) == count
    # inputs that are all refused would have tested little, as would those that all are good
    assert len(report.ends) > 1
    assert report.ends.get("refused", 0) < count


FOUND = {
    "deep arrays in a branch map": ("tables", b"tree = " + b"[" * 3000),
    "an integer too long to be read": ("tables", b"[[mu]]\npt = 1" + b"0" * 5000),
    "an integer too long to be printed": ("tables", b"[[mu]]\nhw_qual = 0x" + b"F" * 5000),
    "a key that takes quadratic time": ("tables", b"[mu]\n" + b"a." * 200_000 + b"a = 1"),
}
"""What fuzzing found once, or a look at what it had found: target and input."""


@pytest.mark.parametrize("case", FOUND)
def test_what_was_found_is_refused(case: str) -> None:
    name, data = FOUND[case]
    with pytest.raises(BadConfig):
        TARGETS[name].parse(data)


def test_a_seed_gives_the_same_inputs() -> None:
    def seen(seed: int) -> list[bytes]:
        inputs: list[bytes] = []

        def parse(data: bytes) -> str:
            inputs.append(data)
            return "good"

        fuzz(Target("t", lambda: [TEXT], parse, 1, text=True), 20, seed)
        return inputs

    assert seen(3) == seen(3) != seen(4)


TEXT = b"a word, another one, 5 = five, and so on\n"


def endless() -> None:
    while True:
        pass


MISTAKES: dict[str, Callable[[], object]] = {
    "ZeroDivisionError": lambda: 1 // 0,
    "MemoryError": lambda: bytearray(1 << 40),
    "Hang": endless,
}


@pytest.mark.parametrize("what", MISTAKES)
def test_mistakes_are_found(what: str, tmp_path: Path) -> None:
    def parse(data: bytes) -> str:
        if b"refused" in data:
            raise BadConfig("refused")
        if b"," not in data:
            MISTAKES[what]()
        return "good"

    target = Target("t", lambda: [TEXT], parse, 1, text=True, seconds=0.1)
    report = fuzz(target, 100, keep=tmp_path)
    [failure] = report.failures.values()
    assert failure.what.startswith(what)
    assert report.ends["good"] + failure.count == report.inputs == 100
    kept = Path(failure.file).read_bytes()
    assert b"," not in kept
    assert what == "Hang" or kept == b""  # made as small as it can be, but no hang is repeated


DIES = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
from tests.fuzz.harness import Target, fuzz
def parse(data):
    if len(data) > 100: os.abort()
    return "good"
target = Target("t", lambda: [b"x" * 50], parse, 1)
fuzz(target, 1000, journal=pathlib.Path(sys.argv[2]))
"""


def test_the_journal_tells_of_what_a_process_died(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    command = [sys.executable, "-c", DIES, str(ROOT), str(journal)]
    assert subprocess.run(command, check=False, capture_output=True).returncode < 0
    assert len(journalled(journal)) > 100
