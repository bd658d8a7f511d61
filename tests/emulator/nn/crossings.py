"""Crossings with muons and a sum, networks that add features up, menus that ask for scores."""

from __future__ import annotations

import numpy as np

from scout40.emulator.nn import Feature, Fixed, Input, Network, Output
from scout40.emulator.nn import nodes as k
from scout40.emulator.ugt.model import Algorithm, Condition, Leaf, Menu, Operation, Requirement
from scout40.streams.block import Block, Table, offsets_of


def block_of(muons: list[list[tuple[int, int]]], etm: list[int | None]) -> Block:
    """Crossings with muons (pt, eta) and ETM; no sums where it is None."""
    flat = [one for crossing in muons for one in crossing]
    sums = [value for value in etm if value is not None]
    tables = {
        "mu": Table(
            {
                "hw_pt": np.array([pt for pt, _ in flat], np.uint16),
                "hw_eta_at_vtx": np.array([eta for _, eta in flat], np.int16),
            },
            offsets_of(np.array([len(crossing) for crossing in muons])),
        ),
        "sums": Table(
            {"hw_etm": np.array(sums, np.uint16)},
            offsets_of(np.array([value is not None for value in etm], np.int32)),
        ),
    }
    n = len(muons)
    return Block(0, 1, np.zeros(n, np.uint32), np.arange(1, n + 1, dtype=np.uint16), tables).check()


CODES = Fixed(18, 18)


def summing(names: list[str], weights: list[int], *, of: Fixed = CODES, scale: int = 0) -> Network:
    """A network whose score is the weighted sum of its inputs."""
    inputs = (Input("x", (len(names),), of, tuple(Feature(name, scale=scale) for name in names)),)
    dense = k.Dense("score", "x", np.array(weights)[:, None], Fixed(42, 42), np.zeros(1, np.int64),
                    Fixed(2, 2), None, Fixed(50, 50))  # fmt: skip
    return Network("summing", inputs, (dense,), (Output("score"),))


BLOCK = block_of([[(7, -3), (5, 100)], [], [(0, 50), (9, -7)], [(1, 1)] * 4], [4095, 6, None, 0])


def menu_of(asked: list[tuple[str, int]], bx: int = 0, *, negated: bool = False) -> Menu:
    conditions = tuple(
        Condition(f"AXO{n}", "single", (Requirement(
            "AXO", bx_offset=bx, network=(("MODEL", model), ("SCORE", str(score)))
        ),))
        for n, (model, score) in enumerate(asked)
    )  # fmt: skip
    trees = [Operation("NOT", (Leaf(n),)) if negated else Leaf(n) for n in range(len(asked))]
    algorithms = (Algorithm(n, f"L1_{n}", "", tree) for n, tree in enumerate(trees))
    return Menu("scores", tuple(algorithms), conditions)
