"""What every command ends with: what came in, what went out, what was lost, and how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from scout40.streams.ledger import Account, Ledger
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


def receipt_from(found: Mapping[str, Any]) -> Receipt:
    """The receipt that ``as_dict`` wrote."""
    ledger = Ledger(facts=dict(found["ledger"]["facts"]))
    for unit, account in found["ledger"]["accounts"].items():
        ledger.accounts[unit] = Account(
            account["in"], account["out"], account["pending"],
            Counter(account["dropped"]), Counter(account["bad"]),
        )  # fmt: skip
    return Receipt(
        found["command"], ledger, found["seconds"], found["source"], found["status"],
        found["lhc_seconds"], tuple(found["outputs"]), tuple(found["bad_packets"]),
        tuple(found["notes"]),
    )  # fmt: skip
