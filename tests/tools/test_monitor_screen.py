"""Repainting: only what changed is written, and what was written shows the frame."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from scout40.tools.monitor_layout import Choice, compose
from scout40.tools.monitor_screen import Screen
from scout40.tools.monitor_watch import Watch
from tests.tools.monitor_fake import SCENES


def console(no_color: bool = False) -> Console:
    return Console(force_terminal=True, color_system="standard", no_color=no_color)


class Emulator:
    """Just enough of a terminal: cursor addresses, clearing, colours, printable characters."""

    def __init__(self, width: int, height: int) -> None:
        self.cells = [[(" ", "")] * width for _ in range(height)]
        self.row = self.column = 0
        self.style = ""

    def feed(self, data: str) -> None:
        for found in re.finditer(r"\x1b\[([\d;]*)([A-Za-z])|([^\x1b])", data):
            numbers, command, character = found.groups()
            if character is not None:
                assert character.isprintable()
                self.cells[self.row][self.column] = (character, self.style)
                self.column += 1
            elif command == "H":
                row, column = map(int, numbers.split(";"))
                self.row, self.column = row - 1, column - 1
            elif command == "J":
                self.cells = [[(" ", "")] * len(line) for line in self.cells]
            else:
                assert command == "m"
                self.style = "" if numbers == "0" else numbers

    def lines(self) -> list[str]:
        return ["".join(one for one, _ in line).rstrip() for line in self.cells]


lines_of_text = st.lists(
    st.builds(Text, st.text(st.sampled_from("ab █"), max_size=12), st.sampled_from(["", "red"])),
    max_size=6,
)


@given(st.lists(lines_of_text, max_size=5))
def test_a_terminal_shows_the_last_frame(frames: list[list[Text]]) -> None:
    screen, seen = Screen(console(), 10, 4), Emulator(10, 4)
    for lines in frames:
        seen.feed(screen.update(lines))
        again = Emulator(10, 4)
        again.feed(Screen(console(), 10, 4).update(lines))
        assert seen.cells == again.cells
        wanted = [line.plain[:10].rstrip() for line in lines[:4]]
        assert seen.lines() == wanted + [""] * (4 - len(wanted))


def test_only_the_changed_cells_are_written() -> None:
    screen = Screen(console(), 40, 3)
    screen.update([Text("lost 10 packets"), Text("x" * 40)])
    assert screen.update([Text("lost 11 packets"), Text("x" * 40)]) == "\x1b[1;7H1"
    assert screen.update([Text("lost 11 packets"), Text("x" * 40)]) == ""


def test_a_change_of_colour_alone_is_a_change() -> None:
    screen = Screen(console(), 20, 1)
    screen.update([Text("STALE", "green")])
    assert screen.update([Text("STALE", "bold red")]) == "\x1b[1;1H\x1b[1;31mSTALE\x1b[0m"


@pytest.mark.parametrize(("width", "height"), [(60, 20), (80, 24), (120, 40)])
def test_a_redraw_costs_a_fraction_of_the_screen(width: int, height: int) -> None:
    """Measured: 330 to 830 bytes for a snapshot with new numbers everywhere, of 2 to 7 kB."""
    watch, screen, choice = Watch("run", 0.0), Screen(console(), width, height), Choice()
    sizes = []
    for step in range(100, 130):
        watch.add(SCENES["healthy"](step).to_json(), float(step))
        lines, _ = compose(watch, float(step), choice, width, height)
        sizes.append(len(screen.update(lines).encode()))
    assert sizes[0] > 1500
    assert max(sizes[22:]) < sizes[0] / 4  # once the sparklines have filled
    lines, _ = compose(watch, 129.0, choice, width, height)
    assert screen.update(lines) == "", "nothing new came and no age grew"


def test_no_color_keeps_the_words_and_drops_the_colours() -> None:
    watch = Watch("run", 0.0)
    watch.add(SCENES["error"](3).to_json(), 3.0)
    lines, _ = compose(watch, 3.0, Choice(), 80, 24)
    data = Screen(console(no_color=True), 80, 24).update(lines)
    codes = {code for found in re.findall(r"\x1b\[([\d;]*)m", data) for code in found.split(";")}
    assert codes <= {"", "0", "1", "2"}
    assert "FAILED" in data
    assert "DOES NOT BALANCE" in data


def test_what_is_not_one_cell_wide_takes_one() -> None:
    screen = Screen(console(), 10, 1)
    assert screen.update([Text("a中\x85e\u0301b")]) == "\x1b[0m\x1b[2J\x1b[1;1Ha??e?b"
    ascii_screen = Screen(console(), 10, 1, ascii_only=True)
    assert ascii_screen.update([Text("a─é…b")]) == "\x1b[0m\x1b[2J\x1b[1;1Ha-?~b"
