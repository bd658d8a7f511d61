"""What a source is, and where its bad bytes go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.ledger import Ledger


class Source(Protocol):
    """Where blocks come from.

    ``blocks`` yields Blocks in time order, each crossing once. It counts every packet (orbit of
    one raw source, ROOT entry, text line, row) in ``run.ledger["packets"]``: received when
    first seen, then out, dropped or bad; what is bad also goes to ``run.quarantine``. It raises
    BadInput only when nothing more can be read; a bad packet does not stop the stream.
    """

    name: str
    """What a receipt prints: file names and what was recognised."""
    contiguous: bool
    """True when crossings without a row are known to be empty."""
    total: int | None
    """Packets expected, for the progress bar; None when not known."""

    def blocks(self, run: Run) -> Iterator[Block]: ...


@dataclass
class Quarantine:
    """Bad packets: counted always, their bytes kept when a folder is given.

    Each packet becomes ``NNNNNN.bin`` and a line of ``index.jsonl`` (file, offset, reason, ...).
    At most ``limit`` bytes of a run are kept; the index says what was cut. A run that uses the
    folder of an earlier one goes on with the numbers.
    """

    folder: Path | None = None
    limit: int = 256 << 20
    kept: int = 0
    count: int = 0
    reasons: list[str] = field(default_factory=list)
    _last: int | None = None
    """Number of the last file in the folder."""

    def put(self, error: BadInput, data: bytes | memoryview) -> None:
        """Keep one bad packet; the first 20 messages are remembered for the receipt."""
        self.count += 1
        if len(self.reasons) < 20:
            self.reasons.append(str(error))
        if self.folder is None:
            return
        if self._last is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            names = (place.stem for place in self.folder.glob("*.bin"))
            self._last = max((int(name) for name in names if name.isdecimal()), default=0)
        self._last += 1
        room = max(0, self.limit - self.kept)
        kept = bytes(data[:room])
        self.kept += len(kept)
        name = f"{self._last:06d}.bin"
        (self.folder / name).write_bytes(kept)
        entry = {"file": name, "reason": str(error), "bytes": len(data), "kept": len(kept)}
        with (self.folder / "index.jsonl").open("a") as index:
            index.write(json.dumps(entry) + "\n")


@dataclass
class Run:
    """What one run shares: the ledger, the quarantine and the size of blocks."""

    ledger: Ledger = field(default_factory=Ledger)
    quarantine: Quarantine = field(default_factory=Quarantine)
    orbits_per_block: int = 64
    rows_per_block: int = 1 << 16

    def bad(self, reason: str, error: BadInput, data: bytes | memoryview) -> None:
        """Count one bad packet under ``reason`` (a short fixed text) and quarantine its bytes."""
        self.ledger["packets"].bad[reason] += 1
        self.quarantine.put(error, data)
