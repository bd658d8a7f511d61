"""Whole frames of made-up runs against text files, and rules that every frame keeps.

After a wanted change of the look: SCOUT40_WRITE_FRAMES=1 pytest tests/tools/test_monitor_frames.py,
then look at the difference of every file.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.snapshot import HistogramState, RateState, Snapshot, SourceState
from scout40.tools.monitor_layout import PANELS, Choice, compose
from scout40.tools.monitor_text import printable
from scout40.tools.monitor_watch import Watch
from tests.tools.monitor_fake import SCENES

FRAMES = Path(__file__).parent / "monitor_frames"
SIZES = ((60, 20), (80, 24), (120, 40))


@functools.cache
def watched(scene: str, steps: int = 30) -> tuple[Watch, float]:
    """A viewer that saw ``steps`` snapshots, one a second, and the time of the last one."""
    watch = Watch("ipc://run", 0.0, link="connected")
    for step in range(1, steps + 1):
        assert watch.add(SCENES[scene](step).to_json(), float(step))
    return watch, float(steps)


def frame(watch: Watch, now: float, choice: Choice, width: int, height: int) -> list[str]:
    lines, _ = compose(watch, now, choice, width, height)
    return [printable(line.plain, choice.ascii_only).rstrip() for line in lines]


def compare(name: str, lines: list[str]) -> None:
    path = FRAMES / f"{name}.txt"
    text = "\n".join(lines) + "\n"
    if os.environ.get("SCOUT40_WRITE_FRAMES"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("scene", SCENES)
def test_frame(scene: str, width: int, height: int) -> None:
    watch, now = watched(scene)
    lines = frame(watch, now, Choice(), width, height)
    compare(f"{scene}_{width}x{height}", lines)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_stale_frame(width: int, height: int) -> None:
    watch, now = watched("healthy")
    compare(f"stale_{width}x{height}", frame(watch, now + 12.3, Choice(), width, height))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_ascii_frame(width: int, height: int) -> None:
    watch, now = watched("losing")
    lines = frame(watch, now, Choice(ascii_only=True), width, height)
    assert "\n".join(lines).isascii()
    compare(f"ascii_{width}x{height}", lines)


@pytest.mark.parametrize("panel", PANELS)
def test_one_panel_alone(panel: str) -> None:
    watch, now = watched("many")
    compare(f"alone_{panel}", frame(watch, now, Choice(alone=panel), 80, 24))


def test_help_fits_the_smallest_screen() -> None:
    watch, now = watched("healthy")
    lines = frame(watch, now, Choice(help=True), 80, 20)
    assert "q        leave; the run goes on, no key changes it" in lines
    assert any("RISING" in line for line in lines)


@given(width=st.integers(1, 200), height=st.integers(1, 70), data=st.data())
def test_no_frame_is_larger_than_the_screen(width: int, height: int, data: st.DataObject) -> None:
    watch, now = watched(data.draw(st.sampled_from(list(SCENES))), steps=3)
    choice = Choice(
        data.draw(st.lists(st.sampled_from(list(PANELS)), unique=True)),
        data.draw(st.sampled_from(["", *PANELS])), data.draw(st.integers(0, 60)),
        data.draw(st.booleans()), data.draw(st.booleans()), data.draw(st.booleans()),
    )  # fmt: skip
    lines = frame(watch, now + data.draw(st.integers(0, 9)), choice, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize("height", [12, 16, 20, 24, 40, 60])
@pytest.mark.parametrize("width", [109, 110, 160])
def test_every_panel_is_shown_or_named_as_hidden(width: int, height: int) -> None:
    watch, now = watched("many")
    lines = frame(watch, now, Choice(), width, height)
    for key, name in enumerate(PANELS, 1):
        shown = any(f"{key} {name.upper()} ─" in line for line in lines)
        assert shown != (f"{key} {name}" in lines[-1])


def test_rows_that_are_left_out_are_counted_and_space_shows_them() -> None:
    watch, now = watched("many")
    first = frame(watch, now, Choice(alone="sources"), 80, 24)
    assert "1-19 of 40, space: more" in first[2]
    assert first[4].startswith("link-33  CONFLICT")
    last = frame(watch, now, Choice(alone="sources", first=38), 80, 24)
    assert "39-40 of 40" in last[2]
    assert last[5].startswith("link-39")
    again = frame(watch, now, Choice(alone="sources", first=57), 80, 24)
    assert again == first


@pytest.mark.parametrize("width", [60, 80, 50])
def test_the_columns_of_losses_are_dropped_last(width: int) -> None:
    watch, now = watched("losing")
    lines = frame(watch, now, Choice(alone="sources"), width, 24)
    assert {"lost", "dropped"} <= set(lines[3].split())
    assert "feed" not in lines[3].split()


def test_a_wide_screen_shows_every_column() -> None:
    watch, now = watched("losing")
    head = frame(watch, now, Choice(alone="sources"), 220, 24)[3].split()
    assert {"endpoint", "feed", "reordered", "twice", "packets", "id"} <= set(head)


def test_nothing_old_is_green() -> None:
    watch, now = watched("healthy")
    fresh, _ = compose(watch, now, Choice(), 120, 40)
    old, verdict = compose(watch, now + 3.5, Choice(), 120, 40)
    assert verdict.stale
    assert "green" in {str(span.style) for line in fresh for span in line.spans}
    styles = {str(span.style) for line in old for span in line.spans}
    assert not any("green" in style for style in styles)
    assert any("was running" in line.plain for line in old)


def test_texts_from_outside_cannot_steer_the_terminal() -> None:
    watch, now = watched("error")
    for choice in (Choice(), Choice(alone="errors"), Choice(alone="errors", ascii_only=True)):
        lines, _ = compose(watch, now, choice, 120, 40)
        for line in lines:
            assert all(one.isprintable() for one in line.plain)
    assert any("?[2Jrun: No space left??on device ?" in line.plain for line in lines)


def test_extreme_numbers_stay_inside() -> None:
    most = 2**64 - 1
    made = Snapshot(
        state="running", time_ns=most, started_ns=0, orbits=most, orbits_per_s=1e18,
        crossings_per_s=1e18, written_rows=most, written_bytes=most, files_closed=most,
        sources=(SourceState("x" * 300, state="running", age_s=1e12, orbit=most, lag_s=-1e18,
                             packets=most, gaps=most, lost=most),),
        rates=(RateState("y" * 300, most, 1e18, 1e18),),
        histograms={"odd one": HistogramState((-1e18, 1e18), (most,), "z" * 300)},
    )  # fmt: skip
    watch = Watch("x", 0.0)
    assert watch.add(made.to_json(), 1.0)
    for width, height in SIZES:
        for name in ("", *PANELS):
            lines = frame(watch, 1.0, Choice(alone=name), width, height)
            assert max(map(len, lines)) <= width
            assert len(lines) <= height


def test_an_empty_snapshot_is_shown() -> None:
    watch = Watch("x", 0.0)
    assert watch.add(dataclasses.replace(Snapshot(), histograms={}).to_json(), 1.0)
    for name in PANELS:
        assert len(frame(watch, 1.0, Choice(alone=name), 80, 24)) == 24


def test_before_the_first_snapshot_the_frame_waits() -> None:
    watch = Watch("ipc://run", 0.0, link="connecting")
    lines = frame(watch, 7.0, Choice(), 80, 24)
    assert lines[0].split()[:4] == ["HEALTHY?", "NO", "NEWS", "7"]
    assert "waiting for the first snapshot of ipc://run" in lines
    assert len(lines) == 24
