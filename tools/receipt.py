"""What every command ends with: what came in, what went out, what was lost, and how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from scout40.streams.ledger import Ledger
from scout40.tools.command import EXIT_UNBALANCED

Status = Literal["complete", "interrupted"]


@dataclass(frozen=True)
class Receipt:
    """The end of one run.

    source:
        what was read, in words.
    lhc_seconds:
        LHC time that the data covers: 24.95 ns for each crossing, whether or not it has a row.
    outputs:
        files written.
    bad:
        messages of the first bad packets.
    """

    command: str
    ledger: Ledger
    seconds: float
    source: str = ""
    status: Status = "complete"
    lhc_seconds: float | None = None
    outputs: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def real_time_factor(self) -> float | None:
        """LHC seconds of data per second; None where time means nothing."""
        if self.lhc_seconds is None or self.seconds <= 0:
            return None
        return self.lhc_seconds / self.seconds

    @property
    def exit_code(self) -> int:
        return 0 if self.ledger.balanced else EXIT_UNBALANCED

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "command": self.command,
            "status": self.status,
            "source": self.source,
            "seconds": round(self.seconds, 6),
            "lhc_seconds": self.lhc_seconds,
            "real_time_factor": self.real_time_factor,
            "outputs": list(self.outputs),
            "bad_packets": list(self.bad),
            "notes": list(self.notes),
            "ledger": self.ledger.as_dict(),
        }
