"""One shard: what it depends on, where it is, and how it is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scout40.emulator.muons.calibration import calibration
from scout40.emulator.muons.response import response
from scout40.emulator.muons.sent import emulator
from scout40.tools import simulate_events as events
from scout40.tools.simulate_config import POOL, digest_of, samples
from scout40.tools.simulate_files import read_columns, read_made, write_shard
from scout40.tools.simulate_muons import Shard, Trigger, muons_of
from scout40.tools.simulate_pairs import pairs_of

FORMAT = 1
"""Raised when shards of the same settings would have other contents."""


@dataclass(frozen=True)
class Job:
    """One shard to make; ``kind`` "generator" or a Kind."""

    kind: str
    process: str
    block: int
    size: str
    seed: int
    preset: str
    root: str

    @property
    def folder(self) -> Path:
        """Where the shard and its manifest are."""
        if self.kind == "generator":
            return Path(self.root) / "generator" / f"seed{self.seed}"
        return Path(self.root) / f"{self.kind}-{self.size}-{self.preset}-seed{self.seed}"

    @property
    def path(self) -> Path:
        """The file; generator shards of different sizes have different numbers of events."""
        name = f"{self.process}-{self.block:02d}"
        if self.kind == "generator":
            name += f"-{samples().sizes[self.size][1][self.process].events}"
        return self.folder / f"{name}.parquet"

    def of(self, kind: str, process: str) -> Job:
        """The job of another process or kind in the same block."""
        return Job(kind, process, self.block, self.size, self.seed, self.preset, self.root)

    def settings(self) -> dict[str, Any]:
        """Everything that the contents depend on."""
        config = samples()
        process, amount = config.processes[self.process], config.sizes[self.size][1][self.process]
        found: dict[str, Any] = {
            "format": FORMAT, "kind": self.kind, "process": asdict(process),
            "pythia": [*config.settings], "version": events.version(), "seed": self.seed,
            "block": self.block, "events": amount.events, "batch": config.batch,
        }  # fmt: skip
        if self.kind == "generator":
            return found
        found |= {"preset": self.preset, "response": response(self.preset).digest(),
                  "amount": asdict(amount)}  # fmt: skip
        if self.kind == "pairs":
            pool = self.of("generator", POOL).settings()
            found |= {"pool": digest_of(pool), "mix": config.mix, "extra": config.extra,
                      "pileup": config.pileup, "nondiffractive": config.nondiffractive}  # fmt: skip
        return found


def make_shard(job: Job) -> None:
    """Make one shard; those that it is made from must be there."""
    config = samples()
    process, amount = config.processes[job.process], config.sizes[job.size][1][job.process]
    if job.kind == "generator":
        made = events.generate(process, config, job.seed, job.block, amount.events)
        columns = {name: getattr(made, name) for name in events.Particles.COLUMNS}
        made_of = {"events": made.events, "sigma": made.sigma}
        write_shard(job.path, columns, job.settings(), made_of)
        return
    rules = response(job.preset)
    fitted = calibration(rules, Path(job.root))
    trigger = Trigger(rules, fitted, emulator(rules, fitted))
    shard = Shard(job.kind, process, job.block, job.seed, amount)
    particles = _particles(job.of("generator", job.process))
    if job.kind == "muons":
        columns = muons_of(shard, particles, trigger)
    else:
        pool = _particles(job.of("generator", POOL))
        columns = pairs_of(shard, particles, pool, config.processes[POOL], config, trigger)
    write_shard(job.path, columns, job.settings())


def _particles(job: Job) -> events.Particles:
    made = read_made(job.path)
    return events.Particles(**read_columns(job.path), events=made["events"], sigma=made["sigma"])
