"""The example client in C, built and run against a feed's socket."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import zmq

from scout40.streams.sockets import Push
from scout40.streams.wire import END, HEARTBEAT, encode
from tests.streams.wire_messages import header, message

SECONDS = 60
HEAD, BODY = message()


def library() -> list[str]:
    """Linker arguments for libzmq: the system's, or the one inside the wheel of pyzmq."""
    if ctypes.util.find_library("zmq") and Path("/usr/include/zmq.h").exists():
        return ["-lzmq"]
    for folder in Path(zmq.__file__).parent.parent.glob("pyzmq.libs"):
        for path in folder.glob("libzmq*.so*"):
            # what libzmq itself needs lies beside it
            return [str(path), f"-Wl,-rpath,{folder}", f"-Wl,-rpath-link,{folder}"]
    pytest.skip("no libzmq to link with: neither zmq.h nor a library inside pyzmq's wheel")


@pytest.fixture(scope="module")
def client(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled client; a warning of the compiler is an error."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler: cc, gcc or clang")
    program = tmp_path_factory.mktemp("client") / "client"
    source = repository / "docs" / "examples" / "client.c"
    command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program)]
    built = subprocess.run(
        [*command, str(source), *library()], capture_output=True, text=True, timeout=SECONDS
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture
def push() -> Iterator[Push]:
    made = Push("tcp://127.0.0.1:*")
    yield made
    made.close(0)


def test_client_counts_what_it_gets(client: Path, push: Push) -> None:
    """Two messages missing, one of which the feed dropped, and one damaged on the way."""
    damaged = message(sequence=4, sent_packets=13, dropped_packets=5)
    damaged[1] = damaged[1][:-1] + b"\x55"
    none = {"orbits": 0, "packets": 0, "first_orbit": 1020}
    frames = [
        message(sequence=0, sent_packets=0, dropped_packets=0, orbits=2, packets=4),
        # the next one, with 3 packets, got lost, the one after that, with 5, was dropped
        message(sequence=3, sent_packets=7, dropped_packets=5, orbits=3, packets=6),
        damaged,  # 2 packets
        encode(header(kind=HEARTBEAT, sequence=5, sent_packets=15, dropped_packets=5, **none)),
        message(sequence=5, sent_packets=15, dropped_packets=5, orbits=1, packets=1),
        [b"not", b"one", b"of ours"],
        encode(header(kind=END, sequence=6, sent_packets=16, dropped_packets=5, **none)),
    ]
    done = run(client, push, frames)
    assert done.stdout == "orbits 6 packets 11 lost 5 dropped 5 bad 2\n"
    assert done.stderr == "bad message: crc mismatch\nbad message: number of frames\n"
    assert done.returncode == 0


WRONG: dict[str, list[bytes]] = {
    "wrong magic": [b"RAW_" + HEAD[4:], BODY],
    "wrong version": [HEAD[:4] + b"\2" + HEAD[5:], BODY],
    "truncated message": [HEAD[:50], BODY],
    "oversized message": [HEAD + b"\0", BODY],
    "number of frames": [HEAD],
    "size of the payload": [HEAD, BODY + b"\0"],
}


def test_client_refuses_what_it_should(client: Path, push: Push) -> None:
    none = {"orbits": 0, "packets": 0}
    end = encode(header(kind=END, sent_packets=40, **none))
    done = run(client, push, [*WRONG.values(), end])
    assert done.stderr.splitlines() == [f"bad message: {reason}" for reason in WRONG]
    assert done.stdout == f"orbits 0 packets 0 lost 0 dropped 0 bad {len(WRONG)}\n"


def run(
    client: Path, push: Push, messages: Sequence[Sequence[bytes | memoryview]]
) -> subprocess.CompletedProcess[str]:
    """What the client says to these messages."""
    program = subprocess.Popen(
        [client, push.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert all(push.send(frames, 1000 * SECONDS) for frames in messages)
        out, err = program.communicate(timeout=SECONDS)
    finally:
        program.kill()
        program.wait()
    return subprocess.CompletedProcess(program.args, program.returncode, out, err)
