"""The ledger: counters that must balance, kept by every run.

For each unit that is counted (packets, crossings, bytes, ...):
``in = out + dropped + bad + pending``.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from scout40.streams.errors import Scout40Error


@dataclass
class Account:
    """Counters of one unit; ``bad`` and ``dropped`` are kept by reason."""

    received: int = 0
    out: int = 0
    pending: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    @property
    def missing(self) -> int:
        """0 when the account balances."""
        lost = self.dropped.total() + self.bad.total()
        return self.received - self.out - self.pending - lost


@dataclass
class Ledger:
    """Accounts by unit name, plus plain facts (dead crossings, orbits, ...)."""

    accounts: dict[str, Account] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def __getitem__(self, unit: str) -> Account:
        return self.accounts.setdefault(unit, Account())

    def add(self, name: str, amount: int) -> None:
        """Add to a fact."""
        self.facts[name] = self.facts.get(name, 0) + amount

    @property
    def balanced(self) -> bool:
        return all(account.missing == 0 for account in self.accounts.values())

    def check(self) -> None:
        """Raise Scout40Error naming every unit that does not balance."""
        wrong = [f"{unit}: {a.missing}" for unit, a in self.accounts.items() if a.missing]
        if wrong:
            raise Scout40Error("ledger does not balance, missing " + ", ".join(wrong))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON and for the end marker of files."""
        accounts = {
            unit: {
                "in": a.received,
                "out": a.out,
                "dropped": dict(a.dropped),
                "bad": dict(a.bad),
                "pending": a.pending,
            }
            for unit, a in self.accounts.items()
        }
        return {"balanced": self.balanced, "accounts": accounts, "facts": dict(self.facts)}
