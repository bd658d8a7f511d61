"""Fuzz the parsers, one after the other, each in a process of its own.

    python tests/fuzz/run.py --count 1000000 [--seed 0] [--minutes 30] [--only menu ...]

The count is shared over the targets by their weights. Prints a table; the exit status is 1 when
anything but BadInput or BadConfig came out of a parser, something hung, or a process died. Inputs
that failed are kept in build/fuzz (--keep).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the tests are a package only for those that start at the root

if TYPE_CHECKING:
    from tests.fuzz.harness import Report, Target


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=100_000, help="inputs of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after this time, whatever the count")
    parser.add_argument("--only", nargs="+", metavar="TARGET", help="names of targets")
    parser.add_argument("--keep", type=Path, default=ROOT / "build" / "fuzz")
    parser.add_argument("--inside", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    from tests.fuzz.harness import targets

    chosen = arguments()
    known = targets()
    unknown = sorted(set(chosen.only or ()) - set(known))
    if unknown:
        sys.exit(f"no target {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = [target for name, target in known.items() if name in (chosen.only or known)]
    if chosen.inside:
        return inside(wanted[0], chosen)
    # Many inputs a second first: should the time run out, the sum is as large as can be.
    wanted.sort(key=lambda target: -target.weight)
    until = time.monotonic() + 60 * chosen.minutes if chosen.minutes else None
    total = sum(target.weight for target in wanted)
    reports = []
    for target in wanted:
        count = math.ceil(chosen.count * target.weight / total)
        reports.append(run_inside(target, count, chosen, until))
        sys.stdout.write(reports[-1].line() + "\n")
        sys.stdout.flush()
    return summary(reports)


def run_inside(
    target: Target, count: int, chosen: argparse.Namespace, until: float | None
) -> Report:
    """Result of one target, from a process that may die of an input."""
    from tests.fuzz.harness import Failure, Report, journalled, kept

    left = max(0.0, until - time.monotonic()) if until is not None else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            *(sys.executable, str(Path(__file__)), "--inside", str(folder), "--only", target.name),
            *("--count", str(count), "--seed", str(chosen.seed), "--keep", str(chosen.keep)),
            *(("--minutes", str(left / 60)) if left is not None else ()),
        ]
        ended = subprocess.run(command, check=False, stdin=subprocess.DEVNULL)
        written = folder / "report.json"
        if written.exists():
            values = json.loads(written.read_text())
            failures = {key: Failure(**value) for key, value in values.pop("failures").items()}
            return Report(**values, failures=failures)
        report = Report(target.name, chosen.seed)
        file = kept(
            chosen.keep, f"{target.name}_{chosen.seed}_died", journalled(folder / "journal")
        )
        what = f"the process ended with status {ended.returncode}"
        report.failures[what] = Failure(what, -1, "", file)
        return report


def inside(target: Target, chosen: argparse.Namespace) -> int:
    """What the process of one target does."""
    from tests.fuzz.harness import fuzz

    until = float("inf") if chosen.minutes is None else time.monotonic() + 60 * chosen.minutes
    journal = chosen.inside / "journal"
    report = fuzz(target, chosen.count, chosen.seed, keep=chosen.keep, journal=journal, until=until)
    (chosen.inside / "report.json").write_text(json.dumps(asdict(report)))
    return 0


def summary(reports: list[Report]) -> int:
    """Prints totals and failures; the exit status."""
    inputs, seconds = sum(r.inputs for r in reports), sum(r.seconds for r in reports)
    failures = [(r, f) for r in reports for f in r.failures.values()]
    rate = inputs / seconds if seconds else 0
    sys.stdout.write(
        f"{'all':<14}{inputs:>9}{seconds:>9.1f} s{rate:>8.0f}/s  {len(failures)} failures\n"
    )
    for report, failure in failures:
        sys.stdout.write(f"\n{report.name}: {failure.what}, {failure.count} times, first input ")
        sys.stdout.write(f"{failure.number} of seed {report.seed}: {failure.file}\n{failure.trace}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
