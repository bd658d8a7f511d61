"""``scout40 doctor``: is this installation in order, what is optional, and do the kernels work."""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import click

from scout40.tools.command import EXIT_DIFFERENT, Task, json_option, print_json


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``ok`` None means information only."""

    section: str
    name: str
    text: str
    ok: bool | None = None


@click.command(cls=Task, name="doctor")
@json_option
def command(json_output: bool) -> None:
    """Check versions, processor, cache, packaged data and kernels of this installation.

    Exit code 1 when something needed is missing or wrong.
    """
    findings = examine()
    healthy = all(finding.ok is not False for finding in findings)
    if json_output:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings, healthy)
    if not healthy:
        raise SystemExit(EXIT_DIFFERENT)


def examine() -> list[Finding]:
    """All findings, in the order of the report."""
    checks: tuple[Callable[[], list[Finding]], ...] = (
        _machine, _dependencies, _extras, _cache, _packaged, _self_test,
    )  # fmt: skip
    return [finding for check in checks for finding in check()]


def _machine() -> list[Finding]:
    model, flags = platform.processor() or platform.machine(), ""
    if os.path.exists("/proc/cpuinfo"):
        text = Path("/proc/cpuinfo").read_text(errors="replace")
        found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
        model = found[1] if found else model
        known = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
        vectors = [f for f in ("avx2", "avx512f") if known and f in known[1].split()]
        flags = f", {' '.join(vectors)}" if vectors else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        size = f", {memory:.0f} GiB memory"
    except (ValueError, OSError, AttributeError):
        size = ""
    return [
        Finding("machine", "scout40", metadata.version("scout40")),
        Finding("machine", "python", f"{platform.python_version()} ({sys.executable})"),
        Finding("machine", "system", platform.platform(terse=True)),
        Finding("machine", "processor", f"{model}, {cores} cores{flags}{size}"),
    ]


def _requirements() -> list[tuple[str, str, str]]:
    """(distribution, lowest version, extra or '') of everything scout40 declares."""
    out = []
    for line in metadata.requires("scout40") or []:
        found = re.match(r"([A-Za-z0-9._-]+)\s*(?:\(?[^;]*?>=\s*([0-9.]+))?", line)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        if found:
            out.append((found[1], found[2] or "0", extra[1] if extra else ""))
    return out


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _dependencies() -> list[Finding]:
    out = []
    for name, lowest, extra in _requirements():
        if extra:
            continue
        version = _installed(name)
        if version is None:
            out.append(Finding("dependencies", name, f"missing, needs >= {lowest}", False))
            continue
        enough = _numbers(version) >= _numbers(lowest)
        text = version if enough else f"{version}, needs >= {lowest}"
        out.append(Finding("dependencies", name, text, enough))
    return out


def _extras() -> list[Finding]:
    extras: dict[str, list[str]] = {}
    for name, _, extra in _requirements():
        if extra:
            extras.setdefault(extra, []).append(name)
    out = []
    for extra, names in extras.items():
        missing = [name for name in names if _installed(name) is None]
        how = f"pip install 'scout40[{extra}]'  (lacks {', '.join(missing)})"
        out.append(Finding("extras", extra, how if missing else "installed"))
    return out


def _cache() -> list[Finding]:
    from scout40.streams.jit import cache_folder

    folder = cache_folder()
    kept = folder.parent.name == "scout40"
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 2**20
    out = [Finding("cache", "folder", str(folder))]
    text = f"{len(files)} files, {size:.1f} MiB" if files else "empty: the first run compiles"
    if not kept:
        text = "cannot be kept: set SCOUT40_CACHE to a folder you can write"
    out.append(Finding("cache", "state", text, kept))
    if kept:
        old = [p for p in folder.parent.iterdir() if p.is_dir() and p != folder]
        if old:
            text = f"{len(old)} folders of other versions, may be deleted"
            out.append(Finding("cache", "older", text))
    return out


def _packaged() -> list[Finding]:
    out = []
    for section, names in (("menus", ("demo.toml",)), ("samples", ("demo.raw",))):
        folder = resources.files("scout40.configs").joinpath(section)
        for name in names:
            place = folder.joinpath(name)
            there = place.is_file()
            text = f"{len(place.read_bytes()) / 1024:.0f} KiB" if there else "missing: reinstall"
            out.append(Finding("packaged data", f"{section}/{name}", text, there))
    return out


def _self_test() -> list[Finding]:
    tests: tuple[tuple[str, Callable[[], str]], ...] = (
        ("pack and unpack", _test_words),
        ("menu against NumPy", _test_menu),
    )
    out = []
    for name, test in tests:
        start = time.perf_counter()
        try:
            text, good = test(), True
        except Exception as error:
            # A doctor reports any failure as a finding; the type says what kind it was.
            text, good = f"{type(error).__name__}: {error}", False
        taken = time.perf_counter() - start
        out.append(Finding("self test", name, f"{text} ({taken:.1f} s)", good))
    return out


def _test_words() -> str:
    """Random words of every declared uGT object survive unpack and pack."""
    import numpy as np

    from scout40.streams.errors import Scout40Error
    from scout40.streams.formats.ugt import OBJECT_WORDS

    rng = np.random.default_rng(1)
    count = 0
    for name, word in OBJECT_WORDS.items():
        used = np.zeros(word.words, np.uint64)
        for bits in word.fields.values():
            used[bits.word] |= np.uint64(bits.mask << bits.lo)
        raw = rng.integers(0, 1 << 63, (10_000, word.words), np.uint64) & used
        words = raw.astype(word.storage)
        if not np.array_equal(word.pack(word.unpack(words)), words):
            raise Scout40Error(f"{name}: words change when unpacked and packed")
        count += len(words)
    return f"{count} words equal"


def _test_menu() -> str:
    """The demo menu on the packaged sample: compiled decisions equal the NumPy ones."""
    from scout40.tools.demo import self_test

    return self_test()


def _show(findings: list[Finding], healthy: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from scout40.tools.show import console

    screen = console()
    section = ""
    table = Table.grid(padding=(0, 1))
    marks: dict[bool | None, Any] = {
        True: Text("ok", "green"), False: Text("BAD", "bold red"), None: "",
    }  # fmt: skip
    table.add_column(min_width=3)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        if finding.section != section:
            section = finding.section
            table.add_row("", Text(section, "bold"), "")
        table.add_row(marks[finding.ok], f"  {finding.name}", Text(finding.text))
    screen.print(table)
    bad = sum(finding.ok is False for finding in findings)
    verdict = Text("healthy", "bold green") if healthy else Text(f"{bad} faults", "bold red")
    screen.print(verdict)
