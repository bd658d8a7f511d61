"""What became of the blocks that were handed to a rolling output."""

from __future__ import annotations

from typing import Literal, NamedTuple

from scout40.streams.errors import Scout40Error

State = Literal["published", "open", "lost"]


class Counts(NamedTuple):
    """Numbers of blocks, orbits, rows; bytes of published files, as they lie on disk."""

    blocks: int = 0
    orbits: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0

    def plus(self, other: Counts, sign: int = 1) -> Counts:
        """The sum, or the difference for sign -1."""
        return Counts(
            self.blocks + sign * other.blocks,
            self.orbits + sign * other.orbits,
            self.rows + sign * other.rows,
            self.files + sign * other.files,
            self.bytes + sign * other.bytes,
        )


class SinkError(Scout40Error):
    """Something could not be written; ``lost`` is what is therefore in no file."""

    def __init__(self, message: str, lost: Counts) -> None:
        super().__init__(
            f"{message}; lost {lost.blocks} blocks ({lost.orbits} orbits, {lost.rows} rows)"
        )
        self.lost = lost
