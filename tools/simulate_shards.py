"""Samples of muons and pairs, made shard by shard: ``make`` and ``load``.

A shard is one process and one seed block. First come generator shards (particles, in the folder
``generator``), which all kinds and presets share; then shards of the sample. Each depends on its
settings alone, so it has the same bytes whether it is made alone or in a set, on one core or on
many.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scout40.emulator.muons.calibration import calibration
from scout40.emulator.muons.response import response
from scout40.streams.errors import BadConfig, BadInput, Scout40Error
from scout40.streams.jit import cache_folder
from scout40.tools import simulate_events as events
from scout40.tools.simulate_config import (
    KINDS,
    POOL,
    SPLITS,
    Kind,
    Split,
    digest_of,
    samples,
)
from scout40.tools.simulate_files import (
    MANIFEST,
    checksum,
    is_valid,
    read_made,
    read_manifest,
    write_manifest,
)
from scout40.tools.simulate_jobs import FORMAT, Job
from scout40.tools.simulate_pairs import KINDS as PAIR_KINDS
from scout40.tools.simulate_run import run_jobs

Progress = Callable[[int, int, str], None]
"""Called with the shards that are ready, all of them, and the name of the last one."""


class Stopped(Scout40Error):
    """Ended on request; the shards made so far are whole and are used next time."""


def default_folder() -> Path:
    """Where samples go when no folder is named: beside the compiled kernels."""
    return cache_folder().parent / "samples"


def make(
    kind: Kind,
    size: str = "small",
    seed: int = 1,
    preset: str = "paper",
    out: str | Path | None = None,
    processes: Sequence[str] | None = None,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Make what is missing of a sample; gives the path of its manifest.

    size, preset, processes: names of samples.toml and response.toml; all processes by default.
    out: folder, by default in the user's cache. jobs: processes at once, by default all cores.
    Raises BadConfig for unknown names and when pythia8mc is missing, Stopped when ``stop`` asks.
    """
    if kind not in KINDS:
        raise BadConfig(f"no sample {kind!r}: expected one of {', '.join(KINDS)}")
    if not 0 <= seed < 2**63:
        raise BadConfig(f"seed {seed}, expected 0..{2**63 - 1}")
    root = default_folder() if out is None else Path(out)
    config, rules = samples(), response(preset)
    shards = config.shards(size, kind, tuple(processes or ()))
    if not shards:
        raise BadConfig(f"size {size} has no {kind} of these processes")
    wanted = [Job(kind, name, block, size, seed, preset, str(root)) for name, block in shards]
    before = {job.path: job for job in _needed(wanted)}
    known = _known_checksums(wanted[0].folder / MANIFEST)
    missing = [job for job in wanted if not is_valid(job.path, job.settings(),
                                                     known.get(job.path.name))]  # fmt: skip
    needed = {job.path for job in _needed(missing)}
    first = [job for path, job in before.items()
             if path in needed and not is_valid(path, job.settings(), None)]  # fmt: skip
    total = len(first) + len(missing)
    cores = jobs or os.cpu_count() or 1
    if missing:
        calibration(rules, root)
    done = 0
    for stage in (first, missing):
        for job in run_jobs(stage, cores, stop):
            done += 1
            if progress is not None:
                progress(done, total, f"{job.kind} {job.process} {job.block:02d}")
        if stop():
            raise Stopped(f"{done} of {total} shards are made; the same command goes on from there")
    path = wanted[0].folder / MANIFEST
    write_manifest(path, _manifest(wanted, rules.digest()))
    return path


def load(manifest: str | Path, split: Split) -> pa.Table:
    """Rows of one split, in order of process and block; columns as in docs/simulation.md.

    Raises BadInput when a shard is missing or is not the one of the manifest, BadConfig for an
    unknown split.
    """
    if split not in SPLITS:
        raise BadConfig(f"no split {split!r}: expected one of {', '.join(SPLITS)}")
    path = Path(manifest)
    tables = []
    for shard in read_manifest(path)["shards"]:
        if shard["split"] != split:
            continue
        file = path.parent / shard["file"]
        if not file.is_file() or checksum(file) != shard["sha256"]:
            raise BadInput("is missing or has changed: simulate again", file=str(file))
        tables.append(pq.read_table(file).replace_schema_metadata(None))
    if not tables:
        raise BadInput(f"has no shard of split {split}", file=str(path))
    return pa.concat_tables(tables)


def _needed(wanted: Sequence[Job]) -> list[Job]:
    """Generator shards that these shards are made from."""
    found = [job.of("generator", job.process) for job in wanted]
    found += [job.of("generator", POOL) for job in wanted if job.kind == "pairs"]
    return list(dict.fromkeys(found))


def _known_checksums(path: Path) -> dict[str, str]:
    """Checksum of each file of a manifest that is there already."""
    if not path.is_file():
        return {}
    return {shard["file"]: shard["sha256"] for shard in read_manifest(path)["shards"]}


def _manifest(wanted: Sequence[Job], digest: str) -> dict[str, Any]:
    config, one = samples(), wanted[0]
    shards = []
    for job in wanted:
        made = read_made(job.of("generator", job.process).path)
        columns = pq.ParquetFile(job.path)
        shards.append({
            "file": job.path.name, "process": job.process, "block": job.block,
            "split": config.split_of(job.process, job.block), "rows": columns.metadata.num_rows,
            "events": made["events"], "sigma_mb": made["sigma"],
            "sha256": checksum(job.path), "settings": digest_of(job.settings()),
        })  # fmt: skip
    names = {process.id: name for name, process in config.processes.items()}
    return {
        "format": FORMAT, "kind": one.kind, "size": one.size, "seed": one.seed,
        "preset": one.preset, "response": digest,
        "versions": {"scout40": version("scout40"), "pythia8mc": events.version(),
                     "numpy": np.__version__, "pyarrow": pa.__version__},
        "processes": {str(number): name for number, name in sorted(names.items())},
        "parents": list(events.PARENTS), "kinds": list(PAIR_KINDS),
        "shards": shards,
    }  # fmt: skip
