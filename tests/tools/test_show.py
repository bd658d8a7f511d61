"""What the terminal shows: no digit is lost on any width, nothing runs over the edge."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from scout40.streams.ledger import Ledger
from scout40.tools import show
from scout40.tools.receipt import Receipt


def screen(width: int, height: int = 24) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True,
                   color_system=None)  # fmt: skip


def text_of(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def ledger(missing: int = 0) -> Ledger:
    made = Ledger()
    account = made["crossings"]
    account.received, account.out = 7_128_000, 7_128_000 - 12 - missing
    account.bad["crc mismatch"] = 12
    made["packets"].received = made["packets"].out = 4000
    return made


@pytest.mark.parametrize("width", [60, 80, 120])
def test_receipt_keeps_every_number(width: int) -> None:
    paper = Receipt("emulate", ledger(), 2.5, source="x" * 200, lhc_seconds=0.1778, bad=("bad",))
    console = screen(width)
    show.receipt(console, paper)
    text = text_of(console)
    for expected in ("7 128 000", "7 127 988", "4 000", "12 x crc mismatch", "factor 0.0711"):
        assert expected in text
    assert max(map(len, text.splitlines())) <= width
    assert paper.exit_code == 0


@pytest.mark.parametrize("width", [60, 80, 120])
def test_receipt_says_what_is_missing(width: int) -> None:
    paper = Receipt("emulate", ledger(missing=3), 2.5)
    console = screen(width)
    show.receipt(console, paper)
    assert "3 MISSING" in text_of(console)
    assert paper.exit_code == 3


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_grid_cuts_text_and_never_numbers(width: int) -> None:
    grid = show.Grid([("bit", "right"), ("algorithm", "left"), ("count", "right")])
    grid.add("511", "L1_" + "x" * 90, "123 456 789")
    console = screen(width)
    console.print(grid.table(width))
    text = text_of(console)
    assert "123 456 789" in text
    assert "511" in text
    assert ("…" in text) == (width < 110)


def test_wrapped_column_keeps_all_words() -> None:
    grid = show.Grid([("table", "left"), ("columns", "left")], wrap_last=True)
    names = [f"hw_{k}" for k in range(40)]
    grid.add("mu", " ".join(names))
    console = screen(60)
    console.print(grid.table(60))
    assert set(names) <= set(text_of(console).split())


def test_reasons_are_taken_apart() -> None:
    why = {
        "A": "input has no mu.hw_qual, mu.hw_dxy; looks at bx +1, rows are independent",
        "B": "input has no mu.hw_qual",
        "C": "AXO needs a network",
    }
    console = screen(200, height=60)
    show.reasons(console, "not evaluated", why)
    text = text_of(console)
    assert "not evaluated: 3 algorithms" in text
    assert "input has no mu.hw_qual (2): A, B" in text
    assert "input has no mu.hw_dxy (1): A" in text
    assert "AXO needs a network (1): C" in text
    assert text.index("hw_qual (2)") < text.index("hw_dxy (1)")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0000889, "88.9 us"), (0.0123, "12.3 ms"), (3.456, "3.46 s"), (200.0, "3 min 20 s")],
)
def test_seconds(value: float, text: str) -> None:
    assert show.seconds(value) == text


def test_plain_lines_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(show, "LINE_SECONDS", 0.0)
    with show.Live("emulate") as progress:
        progress.set_total(40)
        progress.update(20, 1000)
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.startswith("emulate: 20 of 40 packets, 1000 crossings")
    assert "\x1b" not in caught.err


@pytest.mark.parametrize("count", [5, show.MANY, 30])
def test_names_without_a_terminal(count: int) -> None:
    """One line, however narrow; a long list says how many names it leaves out."""
    console = Console(file=io.StringIO(), width=60)
    show.names_line(console, "label", [f"L1_Algorithm{k}" for k in range(count)])
    text = text_of(console)
    assert f"label ({count}): L1_Algorithm0, L1_Algorithm1" in text
    assert text.count("L1_Algorithm") == min(count, show.MANY)
    assert (f"and {count - show.MANY} more (all with --json)" in text) == (count > show.MANY)
    assert text.count("\n") == 1
