"""The folder of a rolling output: names of its files, who may write there, what is there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sinks.base import LEFTOVER, leftovers
from scout40.streams.sources.arrow import ArrowSource

LOCK = ".scout40-lock"
"""File that the process which writes to a folder keeps locked; it holds its process number."""
_NAME = re.compile(r".+_\d+_\d{10}_(?P<serial>\d{6,})\.(arrow|arrows|parquet)")


def file_name(prefix: str, run: int, first_orbit: int, serial: int, suffix: str) -> str:
    """``events_1_0000000000_000000.arrow``."""
    return f"{prefix}_{run}_{first_orbit:010d}_{serial:06d}{suffix}"


@dataclass
class Found:
    """What a folder holds.

    positions: next sequence number of each feed (hex), the largest of all files. serial: number
    for the next file. files: closed files. damaged: why others with such a name are none.
    """

    positions: dict[str, int] = field(default_factory=dict)
    serial: int = 0
    files: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def found(folder: Path) -> Found:
    """Reads the end markers of the closed files, and nothing else of them."""
    result = Found()
    for place in sorted(folder.iterdir()):
        named = _NAME.fullmatch(place.name)
        if named is None or place.name.startswith("."):
            continue
        result.serial = max(result.serial, int(named["serial"]) + 1)
        try:
            (marker,) = ArrowSource([str(place)]).markers
        except BadInput as error:
            result.damaged.append(str(error))
            continue
        result.files.append(place.name)
        for feed, sequence in marker.positions.items():
            result.positions[feed] = max(sequence, result.positions.get(feed, 0))
    return result


def resume(folder: str | Path) -> dict[str, int]:
    """For each feed (hex) the sequence number of the first message that is in no closed file."""
    return found(Path(folder)).positions


def remove_unfinished(folder: Path) -> list[str]:
    """Names of the unfinished rolling files, which are removed; the folder must be locked."""
    removed = []
    for place in leftovers(folder):
        name, _, process = place.name.removesuffix(LEFTOVER).removeprefix(".").rpartition(".")
        if process.isdecimal() and _NAME.fullmatch(name):
            place.unlink()
            removed.append(place.name)
    return removed


class Lock:
    """Makes the folder if need be and keeps it for this process, until it ends or releases it.

    Raises BadConfig when another process has it, or it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._handle = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._handle, 20).decode("ascii", "replace").strip()
            self.release()
            raise BadConfig(
                f"{folder}: process {owner} writes there; stop it or choose another folder"
            ) from None
        except OSError as error:
            self.release()
            raise BadConfig(f"{folder}: cannot be used as output folder: {error}") from None
        with contextlib.suppress(OSError):  # on a full disk nobody learns who it was
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it; nothing when that was done."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
