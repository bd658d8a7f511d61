"""Algorithms as logic over condition bits, for 64 crossings at a time.

The condition bits of 64 crossings are turned round, so that a word holds one condition in all of
them. Every gate of every algorithm is then one operation on such words, and the results are
turned back into the decision words of each crossing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from scout40.emulator.ugt.lanes import WIDTH, both, differ, every, left, load, right, store
from scout40.emulator.ugt.model import Algorithm, Leaf, Operation
from scout40.streams.jit import njit

BATCH = 64
"""Crossings that are turned round together."""

_TILE = BATCH * WIDTH
"""Words of 64 masks of eight words: 512 bits of 64 crossings, or the reverse."""

AND, OR, XOR, NOT, COPY = range(5)
_GATES = {"AND": AND, "OR": OR, "XOR": XOR}


class Logic(NamedTuple):
    """Gates in order. gate: int64 (n, 4) kind, first and second input, output, as places.

    Places are words of the memory of a batch: ``tiles`` tiles of condition bits, one tile of
    algorithm bits (place of bit b of word w: 8 * b + w of the tile), then results in between, in
    all ``size``. used: uint64 (8,), bits of the algorithms; the gates leave the others undefined.
    """

    gate: Any
    used: Any
    tiles: int
    size: int


def logic_of(
    algorithms: Iterable[Algorithm], bit_of: dict[int, int], condition_words: int
) -> Logic:
    """Gates of ``algorithms``; ``bit_of`` maps condition -> its place in the condition bits."""
    tiles = -(-condition_words // WIDTH)
    gates: list[tuple[int, int, int, int]] = []
    free = _TILE * (tiles + 1)

    def value(node: Leaf | Operation) -> int:
        """Place of the value of a node."""
        nonlocal free
        if isinstance(node, Leaf):
            word, bit = divmod(bit_of[node.condition], 64)
            return _TILE * (word // WIDTH) + WIDTH * bit + word % WIDTH
        inputs = [value(operand) for operand in node.operands]
        if node.operator == "NOT":
            gates.append((NOT, inputs[0], inputs[0], free))
            free += 1
            return free - 1
        result = inputs[0]
        for other in inputs[1:]:
            gates.append((_GATES[node.operator], result, other, free))
            result = free
            free += 1
        return result

    used = np.zeros(WIDTH, np.uint64)
    for algorithm in algorithms:
        word, bit = divmod(algorithm.index, 64)
        used[word] |= np.uint64(1) << np.uint64(bit)
        result = value(algorithm.tree)
        gates.append((COPY, result, result, _TILE * tiles + WIDTH * bit + word))
    return Logic(np.array(gates, np.int64).reshape(-1, 4), used, tiles, free)


@njit
def turn(memory: Any, at: Any) -> Any:
    """Row r, bit b of eight 64 x 64 bit matrices side by side becomes row b, bit r, in place."""
    step = 32
    low = np.uint64(0xFFFFFFFF)
    while step:
        keep, shift = every(low), np.uint64(step)
        for row in range(BATCH):
            if row & step:
                continue
            upper, lower = at + row * WIDTH, at + (row + step) * WIDTH
            first, second = load(memory, upper), load(memory, lower)
            swap = both(differ(right(first, shift), second), keep)
            store(memory, upper, differ(first, left(swap, shift)))
            store(memory, lower, differ(second, swap))
        step >>= 1
        low ^= low << np.uint64(step)


@njit
def algorithm_bits(memory: Any, gate: Any, gates: Any, tiles: Any) -> Any:
    """Decision words of 64 crossings into the tile after the condition bits; see ``Logic.used``."""
    for tile in range(tiles):
        turn(memory, tile * _TILE)
    for k in range(gates):
        kind, x, y = gate[4 * k], memory[gate[4 * k + 1]], memory[gate[4 * k + 2]]
        if kind == AND:
            x &= y
        elif kind == OR:
            x |= y
        elif kind == XOR:
            x ^= y
        elif kind == NOT:
            x = ~x
        memory[gate[4 * k + 3]] = x
    turn(memory, tiles * _TILE)
