"""Runs one parser on mutated inputs, under a limit of processor time and of memory.

A file ``fuzz_NAME.py`` beside this one defines ``TARGET``: good inputs and a function that parses
bytes. Nothing but `BadInput` and `BadConfig` may come out of it: any other exception, an input
that takes too long and one that needs too much memory are failures, kept as small as possible.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import mmap
import os
import resource
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scout40.streams.block import Block
from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources.base import Run, Source
from tests.fuzz.mutate import Dice, mutated

ROOM = 1 << 30
"""Bytes of address space beyond those in use at the start: more is an unbounded allocation."""

KINDS_KEPT = 10
"""Different failures after which a run stops."""

JOURNAL = 32 << 20
"""Bytes of the file that holds the input being parsed, should the process die of it."""


@dataclass(frozen=True)
class Target:
    """A parser and good inputs for it.

    parse: takes an input and says in a word what came of it; ``seeds`` must not be refused.
    weight: share of a campaign. text: whether tokens are exchanged.
    seconds: processor time after which an input counts as a hang.
    warnings: True makes warnings failures; libraries that warn of bad bytes need False.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    parse: Callable[[bytes], str]
    weight: float
    text: bool = False
    seconds: float = 10
    warnings: bool = True


Clock = Callable[[bytes | None], None]


class Hang(SystemExit):
    """Too much processor time. A SystemExit, which readers let pass when they translate errors."""


@dataclass
class Failure:
    """What went wrong, where, how often, and the first input that did it, made smaller."""

    what: str
    number: int
    trace: str
    file: str = ""
    count: int = 1


@dataclass
class Report:
    """Result of one target; ``slowest`` in seconds of wall-clock time, ``peak`` in MiB."""

    name: str
    seed: int
    inputs: int = 0
    seconds: float = 0
    slowest: float = 0
    peak: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)

    def line(self) -> str:
        """One line of the table."""
        rate = self.inputs / self.seconds if self.seconds else 0
        ends = ", ".join(f"{kind} {count}" for kind, count in sorted(self.ends.items()))
        return (
            f"{self.name:<14}{self.inputs:>9}{self.seconds:>9.1f} s{rate:>8.0f}/s"
            f"{1e3 * self.slowest:>7.0f} ms{self.peak:>6} MiB"
            f"{len(self.failures):>3} failures: {ends}"
        )


def targets() -> dict[str, Target]:
    """All targets by name: the files ``fuzz_*.py`` of this folder."""
    names = sorted(path.stem for path in Path(__file__).parent.glob("fuzz_*.py"))
    found = [importlib.import_module(f"tests.fuzz.{name}").TARGET for name in names]
    return {target.name: target for target in found if isinstance(target, Target)}


def fuzz(
    target: Target,
    count: int,
    seed: int = 0,
    *,
    keep: Path | None = None,
    journal: Path | None = None,
    until: float = float("inf"),
) -> Report:
    """Parse ``count`` mutated inputs, fewer when the monotonic clock reaches ``until``.

    keep:
        folder for inputs that fail. journal: file that always holds the newest input; with it,
        native code that hangs kills the process.
    """
    report = Report(target.name, seed)
    seeds = target.seeds()
    for index, data in enumerate(seeds):  # compiles the kernels too, which takes long
        kind = _ending(target, data)
        if kind == "refused":
            raise AssertionError(f"{target.name}: seed {index} is refused")
    dice = Dice(seed)
    started = time.monotonic()
    with warnings.catch_warnings(), _limited(target, journal) as begin:
        warnings.simplefilter("error" if target.warnings else "ignore")
        for _ in range(count):
            data = mutated(dice.pick(seeds), dice, seeds, target.text)
            before = time.monotonic()
            if before > until or len(report.failures) >= KINDS_KEPT:
                break
            begin(data)
            try:
                kind = _ending(target, data)
                report.ends[kind] = report.ends.get(kind, 0) + 1
            except (Exception, Hang) as error:
                begin(None)
                _failed(report, target, data, error, begin, keep)
            else:
                report.slowest = max(report.slowest, time.monotonic() - before)
            report.inputs += 1
    report.seconds = time.monotonic() - started
    report.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return report


def _ending(target: Target, data: bytes) -> str:
    try:
        return target.parse(data)
    except (BadInput, BadConfig):
        return "refused"


@contextmanager
def _limited(target: Target, journal: Path | None) -> Iterator[Clock]:
    """Bounds memory; yields the function that starts the clock of one input, or stops it.

    The handler of the first clock runs in Python code only. The second clock ends the process
    when native code does not return; the journal then tells of which input.
    """

    def hang(*_: object) -> None:
        raise Hang(f"more than {target.seconds:g} s of processor time")

    place = _mapped(journal) if journal else None

    def begin(data: bytes | None) -> None:
        seconds = 0 if data is None else target.seconds
        if place is not None:
            signal.setitimer(signal.ITIMER_VIRTUAL, 3 * seconds)
            place[:8] = len(data or b"").to_bytes(8, "little")
            place[8 : 8 + len(data or b"")] = data or b""
        signal.setitimer(signal.ITIMER_PROF, seconds)

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGPROF, hang)
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, limits[1]))
    try:
        yield begin
    finally:
        begin(None)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGPROF, previous)


def _mapped(journal: Path) -> mmap.mmap:
    with journal.open("w+b") as stream:
        stream.truncate(JOURNAL)
        return mmap.mmap(stream.fileno(), JOURNAL)


def journalled(journal: Path) -> bytes:
    """The input that a process was parsing when it died."""
    data = journal.read_bytes() if journal.exists() else b""
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _failed(
    report: Report,
    target: Target,
    data: bytes,
    error: BaseException,
    begin: Clock,
    keep: Path | None,
) -> None:
    """Counts a failure; the first one of its kind is made smaller and kept."""
    what = described(error)
    if what in report.failures:
        report.failures[what].count += 1
        return
    trace = "".join(traceback.format_exception(error)[-6:])
    failure = report.failures[what] = Failure(what, report.inputs, trace)
    if not isinstance(error, Hang):  # that would take as long again at every step
        data = smaller(target, data, what, begin)
    if keep is not None:
        failure.file = kept(keep, f"{target.name}_{report.seed}_{report.inputs}", data)


def kept(folder: Path, name: str, data: bytes) -> str:
    """Write an input that failed; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.bin"
    path.write_bytes(data)
    return str(path)


def described(error: BaseException) -> str:
    """Kind of an exception and the place in this package, or here, that it came from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and f.filename.endswith(".py")]
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"
    if isinstance(error, Hang):  # stops anywhere
        return "Hang"
    return f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:80]}"


def smaller(target: Target, data: bytes, what: str, begin: Clock, seconds: float = 10) -> bytes:
    """``data`` without what it can lose and still fail in the same way."""
    until, size = time.monotonic() + seconds, len(data)
    place = what.partition(": ")[0]
    while size:
        at = 0
        while at < len(data) and time.monotonic() < until:
            shorter = data[:at] + data[at + size :]
            begin(shorter)
            try:
                _ending(target, shorter)
                same = False
            except (Exception, Hang) as error:
                same = described(error).startswith(place)
            begin(None)
            if same:
                data = shorter
            else:
                at += size
        size //= 2
    return data


@functools.cache
def scratch() -> Path:
    """A folder, in memory where the system has such a thing."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = tempfile.TemporaryDirectory(dir=memory, prefix="scout40-fuzz-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def reference_files(pattern: str, most: int = 1 << 62) -> list[Path]:
    """Files of the reference data of at most ``most`` bytes; none where there is no such folder."""
    named = os.environ.get("SCOUT40_REFERENCE")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "reference"
    return [path for path in sorted(folder.glob(pattern)) if path.stat().st_size <= most]


def written(data: bytes, name: str) -> str:
    """Path of a file with this content, for parsers that take paths; the next call reuses it."""
    path = scratch() / name
    path.write_bytes(data)
    return str(path)


def read(make: Callable[[Sequence[str]], Source], path: str, run: Run) -> tuple[str, int]:
    """Reads a file through its source; (what came of it, objects). Blocks and ledger must be right.

    Rows of sources that are not contiguous keep the order of the file, whatever their orbits.
    """
    objects = 0
    try:
        for block in make([path]).blocks(run):
            _check(block if block.contiguous else block.replace(orbit=np.sort(block.orbit)))
            objects += block.objects
    except BadInput:
        run.ledger.check()
        raise
    run.ledger.check()
    account = run.ledger["packets"]
    if account.pending:
        raise AssertionError(f"{account.pending} packets neither out nor bad")
    return ("bad packets" if account.bad else "good"), objects


def _check(block: Block) -> None:
    try:
        block.check()
    except BadInput as error:  # of a block that the source made: no fault of the input
        raise AssertionError(f"block does not hold together: {error}") from error
