"""Straight-line source of a network: one expression after the other, constants inside.

Only integers and names made here go into the source, nothing that a file spells. Each stage is one
loop over the lanes of a block that LLVM turns into vector code; rows that a later stage reads wait
in work arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scout40.emulator.nn.program import Program
from scout40.emulator.nn.writer import LANES, Writer, fitting

STAGE_TERMS = 600
"""Products in one loop; more are cut into stages."""

HEAD = """import numpy as np

from scout40.emulator.nn.scalar import (
    add, add_sat, both, cut, down, even, fma, larger, mul, mulh, shl, shr, smaller, sub_sat,
    top,
)
from scout40.streams.jit import inline, pointer

"""

TAIL = """

def blocks(x, y, w16, w32, w64, tables):
    for block in range(x.shape[0]):
        run(
            pointer(x[block]), pointer(y[block]), pointer(w16), pointer(w32), pointer(w64),
            pointer(tables),
        )
"""


@dataclass
class Source:
    """Text of a module with ``blocks(x, y, w16, w32, w64, tables)``.

    x (blocks, inputs, LANES), y (blocks, outputs, LANES) of the dtypes below; w16, w32, w64:
    1-dimensional work arrays of at least these many rows of LANES. tables: int64, all tables.
    """

    text: str
    input_dtype: str
    output_dtype: str
    work: dict[str, int]


def dtypes(program: Program) -> tuple[str, str]:
    """dtype of the inputs and of the outputs."""
    ins = program.rows[: program.n_inputs]
    outs = [program.rows[number] for number in program.outputs]
    first, last = (
        fitting(min(row.low for row in rows), max(row.high for row in rows)) for rows in (ins, outs)
    )
    return first, last


def table_offsets(program: Program) -> dict[int, int]:
    """Where the table of a row begins among all tables; the same table stands there once."""
    found: dict[int, int] = {}
    places: dict[int, int] = {}
    total = 0
    for number, row in enumerate(program.rows):
        if row.table is None:
            continue
        if id(row.table) not in places:
            places[id(row.table)] = total
            total += len(row.table.values)
        found[number] = places[id(row.table)]
    return found


def source_of(program: Program) -> Source:
    """The module's source."""
    first, last = dtypes(program)
    writer = Writer(program, first, table_offsets(program))
    last_use = {number: len(program.rows) for number in program.outputs}
    stages = list(_stages(program))
    stage_of = {number: n for n, stage in enumerate(stages) for number in stage}
    for number, row in enumerate(program.rows):
        for one, _ in row.terms:
            last_use[one] = max(last_use.get(one, 0), number)
    for n, stage in enumerate(stages):
        writer.begin()
        for number in stage:
            writer.row(number)
        for number in stage:
            used = last_use[number]
            if used < len(program.rows) and stage_of[used] != n:
                writer.keep(number)
        for place, number in enumerate(program.outputs):
            if stage_of.get(number, 0) == n:
                name = writer.use(number, last)
                writer.line(f"y[{place * LANES} + l] = {name}")
        if n + 1 < len(stages):
            for number in stage:  # outputs that a later stage also reads
                if number in program.outputs and _read_later(program, number, stage_of, n):
                    writer.keep(number)
    text = HEAD + "\n@inline\ndef run(x, y, w16, w32, w64, tables):\n"
    text += "\n".join(writer.lines) + "\n" + TAIL
    return Source(text, first, last, writer.work)


def _read_later(program: Program, number: int, stage_of: dict[int, int], stage: int) -> bool:
    return any(
        stage_of[reader] > stage
        for reader in range(program.n_inputs, len(program.rows))
        for source, _ in program.rows[reader].terms
        if source == number
    )


def _stages(program: Program) -> Iterator[list[int]]:
    """Numbers of rows, in order, cut where a loop would become too long."""
    stage: list[int] = []
    terms = 0
    for number in range(program.n_inputs, len(program.rows)):
        size = len(program.rows[number].terms)
        if stage and terms + size > STAGE_TERMS:
            yield stage
            stage, terms = [], 0
        stage.append(number)
        terms += size
    yield stage
