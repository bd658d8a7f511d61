"""One error type for everything that can be wrong with what a user gives us."""

from __future__ import annotations


class Scout40Error(Exception):
    """Bad input or configuration; the text says what is wrong, where, and what to do."""


class BadInput(Scout40Error):
    """Data that cannot be used: names file, byte offset, orbit, bx and field where known."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        offset: int | None = None,
        orbit: int | None = None,
        bx: int | None = None,
        field: str | None = None,
    ) -> None:
        places = {"file": file, "offset": offset, "orbit": orbit, "bx": bx, "field": field}
        where = ", ".join(f"{name} {value}" for name, value in places.items() if value is not None)
        super().__init__(f"{where}: {message}" if where else message)
        self.reason = message


class BadConfig(Scout40Error):
    """A menu, prescale table or TOML file that cannot be used."""
