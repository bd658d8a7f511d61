"""Consumers that share a feed: together they have every packet, or it is said how many not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from scout40.streams.wire import END
from scout40.tools.cli import group
from scout40.tools.live_config import load_pipeline
from tests.streams.live_messages import header, stream
from tests.tools.live_memory import frames, run_live

PIPELINE = "[input]\nshared = true\n[selection]\nall = true\n"


def dealt(folder: Path, lose: int | None = None) -> list[Path]:
    """Ten messages dealt to two consumers in turn; one of them may be lost."""
    pipeline = folder / "shared.toml"
    pipeline.write_text(PIPELINE)
    configured = load_pipeline(pipeline)
    messages = stream(10, 4, end=False)
    end = header(10, 40, 0, first=40, kind=END)
    outs = []
    for place in range(2):
        mine = [m for k, m in enumerate(messages) if k % 2 == place and k != lose]
        out = folder / f"out{place}"
        result = run_live(frames([*mine, (end, b"")]), out, configured, until_end=True)
        assert result.receipt.ledger.balanced
        assert result.receipt.ledger["packets"].out == 4 * len(mine)
        outs.append(out)
    return outs


@pytest.mark.parametrize("lose", [None, 4])
def test_consumers_of_one_feed_add_up(tmp_path: Path, lose: int | None) -> None:
    outs = dealt(tmp_path, lose)
    done = CliRunner().invoke(group, ["collect", *map(str, outs), "--json"])
    found = json.loads(done.output)
    (feed,) = found["feeds"]
    missing = 0 if lose is None else 4
    assert (feed["sent"], feed["taken"], feed["lost"]) == (40, 40 - missing, missing)
    assert found["accounts"]["packets"]["out"] == 40 - missing
    assert found["orbits"] == 40 - missing
    assert found["balanced"] is (lose is None)
    assert done.exit_code == (0 if lose is None else 3)


def test_what_is_printed_says_lost(tmp_path: Path) -> None:
    done = CliRunner().invoke(group, ["collect", *map(str, dealt(tmp_path, 4))])
    assert "LOST" in done.output
    assert done.exit_code == 3


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(group, ["collect", str(tmp_path)])
    assert done.exit_code == 2
    assert "status.json" in done.output
