"""The command: exit codes, JSON, plain lines, the terminal it leaves behind, and tmux."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pty
import queue
import re
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scout40.streams.snapshot import from_json, write_status
from scout40.streams.sockets import Publisher, Security
from tests.tools.monitor_fake import SCENES
from tests.tools.program import run
from tests.tools.pseudo_terminal import LEAVE, Seen

PROGRAM = (sys.executable, "-m", "scout40.tools", "monitor")


@contextlib.contextmanager
def publishing(endpoint: str, stop: float = 1e9, security: Security | None = None) -> Iterator[str]:
    """Publish ten steps a second; after ``stop`` seconds the run is silent. Gives the address."""
    ended, address = threading.Event(), queue.Queue[str]()

    def publish() -> None:
        publisher = Publisher(endpoint, security=security or Security())
        address.put(publisher.address)
        step, begin = 100, time.monotonic()
        while not ended.wait(0.1):
            if time.monotonic() - begin < stop:
                publisher.publish(SCENES["healthy"](step).to_json())
            step += 1
        publisher.close()

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield address.get(timeout=20)
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/run"


@pytest.fixture
def status(tmp_path: Path) -> Path:
    return tmp_path / "status.json"


CODES = [("healthy", 0), ("losing", 1), ("earlier", 1), ("source_stale", 1), ("error", 1),
         ("stopped", 0), ("connecting", 1)]  # fmt: skip


@pytest.mark.parametrize(("scene", "code"), CODES)
def test_once_says_in_its_exit_code_how_the_run_does(scene: str, code: int, status: Path) -> None:
    write_status(status, SCENES[scene](30).to_json())
    done = run("monitor", "--file", status, "--once")
    assert done.exit_code == code, done.output
    assert done.output.startswith("HEALTHY?")
    assert "2 SOURCES" in done.output
    assert "press" not in done.output


def test_once_reads_an_endpoint(endpoint: str) -> None:
    with publishing(endpoint):
        done = run("monitor", endpoint, "--once", "--timeout", "20")
    assert done.exit_code == 0, done.output
    assert "gmt  run 398183" in done.output


def test_once_of_an_old_status_is_stale(status: Path) -> None:
    write_status(status, SCENES["healthy"](30).to_json())
    os.utime(status, (time.time() - 100, time.time() - 100))
    done = run("monitor", "--file", status, "--once")
    assert done.exit_code == 1
    assert re.match(r"HEALTHY\?  STALE 10\d s ", done.output)
    assert "was running" in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "no such file"), ("{}", "field version: is missing"), ('{"version": 7}', "7 instead")],
)
def test_nothing_to_show_is_exit_code_2(text: str | None, message: str, status: Path) -> None:
    if text is not None:
        status.write_text(text)
    done = run("monitor", "--file", status, "--once", "--timeout", "0.3")
    assert done.exit_code == 2
    assert "no snapshot of" in done.output
    assert message in done.output


def test_nobody_there_is_exit_code_2(endpoint: str) -> None:
    done = run("monitor", endpoint, "--once", "--timeout", "0.3")
    assert done.exit_code == 2
    assert f"no snapshot of {endpoint} within 0.3 s" in done.output


def test_json_is_the_snapshot(status: Path) -> None:
    made = SCENES["losing"](30)
    write_status(status, made.to_json())
    done = run("monitor", "--file", status, "--json")
    assert done.exit_code == 1
    assert from_json(done.stdout.encode()) == made
    write_status(status, SCENES["healthy"](30).to_json())
    assert run("monitor", "--file", status, "--json").exit_code == 0


def test_json_error_is_an_object(status: Path) -> None:
    done = run("monitor", "--file", status, "--json", "--timeout", "0")
    assert done.exit_code == 2
    assert "no snapshot" in json.loads(done.stdout.splitlines()[0])["error"]


def test_panels_are_chosen_by_flag(status: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_status(status, SCENES["healthy"](30).to_json())
    done = run("monitor", "--file", status, "--once", "--panels", "latency, errors")
    titles = [line.split()[1] for line in done.output.splitlines() if "──" in line]
    assert titles == ["LATENCY", "ERRORS"]
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "20")
    lines = run("monitor", "--file", status, "--once").output.splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 60
    assert "(--panels shows them)" in lines[-1]


def test_a_panel_that_does_not_exist_is_a_usage_error(status: Path) -> None:
    done = run("monitor", "--file", status, "--panels", "sources,colours")
    assert done.exit_code == 2
    assert "no panel 'colours'; panels: health, sources" in " ".join(done.output.split())


def test_ascii_output_is_ascii(status: Path) -> None:
    write_status(status, SCENES["error"](30).to_json())
    done = run("monitor", "--file", status, "--once", "--ascii")
    assert done.output.isascii()
    assert "1 HEALTH ---" in done.output


def test_keys_come_in_pairs(tmp_path: Path) -> None:
    done = run("monitor", "tcp://127.0.0.1:1", "--once", "--keys", tmp_path / "a.key_secret")
    assert done.exit_code == 2
    assert "--keys and --server-key belong together" in done.output


def test_a_run_with_keys_answers_only_who_has_one(tmp_path: Path) -> None:
    for folder, name in (("run", "run"), ("me", "me"), ("other", "other")):
        assert run("keys", tmp_path / folder, "--name", name).exit_code == 0
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    shutil.copy(tmp_path / "me" / "me.key", allowed)
    security = Security(keys=tmp_path / "run" / "run.key_secret", allow=allowed)
    server = ("--server-key", tmp_path / "run" / "run.key")
    with publishing("tcp://127.0.0.1:*", security=security) as address:
        for name, code in (("me", 0), ("other", 2)):
            own = tmp_path / name / f"{name}.key_secret"
            arguments = (address, "--once", "--timeout", "20" if code == 0 else "1.5")
            done = run("monitor", *arguments, "--keys", own, *server)
            assert done.exit_code == code, done.output
        assert "refused" in done.output
        assert run("monitor", address, "--once", "--timeout", "1").exit_code == 2


def test_output_that_knows_no_unicode_gets_ascii(status: Path) -> None:
    write_status(status, SCENES["healthy"](30).to_json())
    done = subprocess.run(
        [*PROGRAM, "--file", str(status), "--once"], capture_output=True, timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()


def test_svg_is_whole_and_asks_for_nothing_from_the_network(status: Path, tmp_path: Path) -> None:
    write_status(status, SCENES["error"](30).to_json())
    picture = tmp_path / "frame.svg"
    done = run("monitor", "--file", status, "--once", "--svg", picture)
    assert done.exit_code == 1
    text = picture.read_text()
    assert "FAILED" in text
    assert "font-face" not in text
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {
        "http://www.w3.org/2000/svg", "https://www.textualize.io"
    }  # fmt: skip


def test_without_a_terminal_there_is_one_line_a_second(endpoint: str) -> None:
    with publishing(endpoint, stop=2.0):
        program = subprocess.Popen([*PROGRAM, endpoint], stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        lines = [program.stdout.readline() for _ in range(6)]
        program.send_signal(signal.SIGTERM)
        assert program.wait(20) == 0
        program.stdout.close()
    assert any(re.match(r"\d\d:\d\d:\d\d \| HEALTHY\? YES \| LOSING DATA\? NO ", one)
               for one in lines)  # fmt: skip
    assert "HEALTHY? STALE" in lines[-1]
    assert "\x1b" not in "".join(lines)


@pytest.fixture
def seen(endpoint: str) -> Iterator[Seen]:
    with publishing(endpoint):
        opened = Seen((*PROGRAM, endpoint))
        try:
            opened.until("2 SOURCES")
            yield opened
        finally:
            opened.close()


@pytest.mark.parametrize(
    "how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, "q", "Q", "\x03"], ids=str
)
def test_the_terminal_is_put_back(seen: Seen, how: signal.Signals | str) -> None:
    if isinstance(how, str) and how != "\x03":
        seen.press(how)
    else:  # the pseudo terminal controls no session, so Ctrl-C arrives as its signal
        seen.program.send_signal(signal.SIGINT if isinstance(how, str) else how)
    assert seen.end() == 0
    seen.check_put_back()


def test_keys_switch_panels_and_help(seen: Seen) -> None:
    seen.press("5")
    seen.until("5 LATENCY")
    seen.press("h")
    seen.until("no key changes it")
    seen.press("0")
    seen.until("1 HEALTH")
    seen.press("\x1b[A")  # an arrow is no command
    seen.press("q")
    assert seen.end() == 0


def test_a_new_size_is_followed(seen: Seen) -> None:
    seen.resize(60, 20)
    seen.program.send_signal(signal.SIGWINCH)
    seen.until("\x1b[2J")
    repaint = seen.data.rindex(b"\x1b[2J")
    while b"\x1b[20;1H" not in seen.data[repaint:]:
        seen.read(1.0)
    part = seen.data[repaint:].decode()
    rows = [int(row) for row, _ in re.findall(r"\x1b\[(\d+);(\d+)H", part)]
    assert max(rows) == 20
    seen.press("q")
    assert seen.end() == 0


def test_there_are_at_most_four_redraws_a_second(seen: Seen) -> None:
    """Ten snapshots come a second; the second row ("up 101 s") changes with each."""
    start, begin = len(seen.data), time.monotonic()
    while time.monotonic() - begin < 3.0:
        seen.read(0.05)
    assert 3 <= seen.data[start:].count(b"\x1b[2;") <= 13
    rate = (len(seen.data) - start) / 3.0
    assert rate < 4 * 1500, "bytes a second"
    seen.press("q")
    assert seen.end() == 0


def test_an_exception_puts_the_terminal_back(endpoint: str) -> None:
    """A fault in drawing: the traceback comes after the terminal is itself again."""
    code = (
        "import sys\n"
        "from scout40.tools import monitor_layout\n"
        "def broken(*_, **__): raise RuntimeError('drawing failed')\n"
        "monitor_layout.compose = broken\n"
        "from scout40.tools.cli import main\n"
        "main(['monitor', sys.argv[1]])\n"
    )
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    done = subprocess.run(
        [sys.executable, "-c", code, endpoint], stdin=slave, stdout=slave,
        stderr=subprocess.PIPE, timeout=60, env={**os.environ, "TERM": "xterm"},
    )  # fmt: skip
    data = os.read(master, 65536)
    assert done.returncode == 70
    assert b"drawing failed" in done.stderr
    assert data.endswith(LEAVE)
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_inside_tmux(tmp_path: Path) -> None:
    """What tmux shows at 80x24 is the frame; no line is lost, none wraps."""
    tmux = shutil.which("tmux")
    if tmux is None:
        pytest.skip("tmux is not installed")
    status = tmp_path / "status.json"
    now = time.time_ns()
    made = SCENES["stopped"](30)  # ended, so that no age is on the first rows
    write_status(
        status, dataclasses.replace(made, time_ns=now, started_ns=now - 30 * 10**9).to_json()
    )
    command = " ".join((*PROGRAM, "--file", str(status)))
    here = [tmux, "-S", str(tmp_path / "socket"), "-f", os.devnull]
    subprocess.run(
        [*here, "new-session", "-d", "-x", "80", "-y", "24", f"env -u NO_COLOR {command}"],
        check=True, timeout=20,
    )  # fmt: skip
    try:
        end, shown = time.monotonic() + 30, ""
        while "q quit" not in shown:
            assert time.monotonic() < end, shown
            time.sleep(0.2)
            shown = subprocess.run(
                [*here, "capture-pane", "-p"],
                check=True,
                capture_output=True,
                text=True,
                timeout=20,
            ).stdout
        lines = [line.rstrip() for line in shown.splitlines()]
        frame = Path(__file__).parent / "monitor_frames" / "stopped_80x24.txt"
        assert len(lines) == 24
        assert lines[:3] == frame.read_text(encoding="utf-8").splitlines()[:3]
        assert [line[:9] for line in lines if "──" in line][:2] == ["1 HEALTH ", "2 SOURCES"]
    finally:
        subprocess.run([*here, "kill-server"], check=False, timeout=20)
