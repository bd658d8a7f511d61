"""A source made of blocks in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from scout40.streams.block import Block
from scout40.streams.sources.base import Run


@dataclass
class Memory:
    """A source of given blocks; a packet is a block."""

    held: Sequence[Block]
    contiguous: bool = False
    name: str = "memory"
    total: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.total = len(self.held)

    def blocks(self, run: Run) -> Iterator[Block]:
        packets = run.ledger["packets"]
        for block in self.held:
            packets.received += 1
            packets.out += 1
            yield block
