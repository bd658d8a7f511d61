"""How fast a complete menu decides, on one core and two, beside the same menu in NumPy."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scout40.emulator.ugt import load_menu
from scout40.emulator.ugt.bits import unpack_bits
from scout40.emulator.ugt.decide import CompiledMenu
from scout40.emulator.ugt.model import Algorithm, Menu
from scout40.streams.block import Block, concatenate
from scout40.streams.errors import BadConfig, Scout40Error
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from scout40.tools.bench_numpy import NumpyMenu
from scout40.tools.measure import Measure, interleaved

CROSSINGS = 1_000_000
BLOCK_ROWS = 1 << 16
MENU_2024 = "menus/2024/L1Menu_Collisions2024_v1_3_0-d1.extract.json"
VECTOR_2024 = "testvectors/ugt/L1menu_2024_v1_3_0_data_TestVector_000.txt"


def bench(quick: bool) -> list[Measure]:
    """Crossings per second of the 2024 menu (the demo menu without reference data)."""
    menu, block, complete = _material()
    compiled = menu.compile()
    block = _tiled(block, BLOCK_ROWS)
    blocks = 1 if quick else -(-CROSSINGS // len(block))
    peer = NumpyMenu(menu)
    small = block.take(0, min(len(block), 4096))
    algorithms = check_equal(compiled, peer, small)

    def one_core() -> None:
        for _ in range(blocks):
            compiled.decide(block)

    def numpy() -> None:
        peer.decide(small, algorithms)

    rounds = 3 if quick else 5
    single, of_numpy = interleaved([one_core, numpy], rounds)
    speed, slow = blocks * len(block) / single, len(small) / of_numpy
    detail = f"{menu.name}, {len(menu.algorithms)} algorithms, {blocks * len(block)} crossings"
    limit = 1e6 if complete else None
    out = [
        Measure(
            "menu", speed, "BX/s", slow, "NumPy", speed / slow, limit, limit_on="value",
            detail=f"{detail}, one core",
        )
    ]  # fmt: skip
    reset_peak()
    one_core()
    memory = peak_megabytes()
    out += _two_cores(compiled, block, 2 * blocks, rounds)
    return [
        *out,
        Measure(
            "menu_peak_memory", memory, "MB", limit=1024.0, bound="at most", limit_on="value",
            detail="largest size of the process while it decides them on one core",
        ),
    ]  # fmt: skip


def _two_cores(compiled: CompiledMenu, block: Block, blocks: int, rounds: int) -> list[Measure]:
    """Two threads against one, on the same blocks; nothing on a machine with one core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if cores < 2:
        return []
    pools = {count: ThreadPoolExecutor(count) for count in (1, 2)}

    def run(count: int) -> None:
        list(pools[count].map(compiled.decide, [block] * blocks))

    one, two = interleaved([lambda: run(1), lambda: run(2)], rounds)
    for pool in pools.values():
        pool.shutdown()
    crossings = blocks * len(block)
    fast, slow = crossings / two, crossings / one
    return [Measure("menu_two_cores", fast, "BX/s", slow, "one core", fast / slow, 1.8,
                    detail="the same blocks in two threads and in one")]  # fmt: skip


def _material() -> tuple[Menu, Block, bool]:
    """Menu, data, and whether they are those that the speed limit is stated for."""
    folder = reference_folder()
    if folder is not None:
        menu = load_menu(folder / MENU_2024)
        source = open_source([str(folder / VECTOR_2024)])
        return menu, concatenate(source.blocks(Run())), True
    from scout40.tools.sample import demo_menu, sample_path

    with sample_path() as path:
        block = concatenate(open_source([str(path)]).blocks(Run()))
    return demo_menu(), block.replace(contiguous=False), False


def reference_folder() -> Path | None:
    """Reference data: $SCOUT40_REFERENCE, else ``../shared/reference`` beside the work folder.

    Raises BadConfig when the variable names a folder without them.
    """
    named = os.environ.get("SCOUT40_REFERENCE")
    folder = Path(named) if named else Path.cwd().parent / "shared" / "reference"
    if (folder / MENU_2024).is_file() and (folder / VECTOR_2024).is_file():
        return folder
    if named:
        raise BadConfig(f"SCOUT40_REFERENCE: {folder} has no {MENU_2024} or no {VECTOR_2024}")
    return None


def _tiled(block: Block, rows: int) -> Block:
    """Copies of an independent block behind each other, at least one, at most ``rows`` rows."""
    return concatenate([block] * max(1, rows // len(block)))


def check_equal(compiled: CompiledMenu, peer: NumpyMenu, block: Block) -> list[Algorithm]:
    """The algorithms that both evaluate; Scout40Error naming those that differ."""
    decisions = compiled.decide(block)
    algorithms = [a for a in peer.algorithms if a.name not in decisions.not_evaluated]
    ours, theirs = unpack_bits(decisions.words), unpack_bits(peer.decide(block, algorithms))
    index: npt.NDArray[Any] = np.array([a.index for a in algorithms], np.int64)
    wrong = (ours[:, index] != theirs[:, index]).any(axis=0)
    if wrong.any():
        names = [a.name for a, bad in zip(algorithms, wrong, strict=True) if bad]
        raise Scout40Error(f"compiled and NumPy decisions differ: {', '.join(names[:10])}")
    return algorithms


def reset_peak() -> None:
    """Let the kernel forget the largest size so far, where it can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """Largest resident size of this process since ``reset_peak``; since its start elsewhere."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
