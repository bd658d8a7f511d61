"""The files of one ``emulate`` run: decisions beside their objects, and the rate tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from scout40.emulator.ugt.fdl import Decision
from scout40.emulator.ugt.model import Menu
from scout40.streams.block import Block
from scout40.streams.ledger import Ledger
from scout40.streams.lineage import Lineage, lineage_of
from scout40.streams.sinks.arrow import ArrowSink
from scout40.streams.sinks.base import Status, Target
from scout40.tools.pipeline import rows_worth_keeping, without_empty_rows

if TYPE_CHECKING:
    import pyarrow as pa


class Output:
    """Blocks with decisions to ``path``; summary tables beside it as ``<stem>.<name>.parquet``.

    Beside them stand the columns of ``result_columns``.
    Crossings of a zero-suppressed stream that have neither objects nor decisions get no row.
    """

    def __init__(
        self,
        path: str | Path,
        lineage: Callable[[], Lineage],
        *,
        overwrite: bool = False,
        physical: bool = True,
        tables: Sequence[str] = (),
    ) -> None:
        self._path = Path(path)
        self._targets = {name: Target(self._beside(name), overwrite=overwrite) for name in tables}
        self._sink = ArrowSink(path, lineage=lineage, overwrite=overwrite, physical=physical)
        self.written: list[str] = []

    def _beside(self, name: str) -> Path:
        return self._path.with_name(f"{self._path.stem}.{name}.parquet")

    def write(
        self,
        block: Block,
        evaluated: npt.NDArray[np.uint64],
        decision: Decision,
        accepted: npt.NDArray[np.bool_],
        ledger: Ledger,
    ) -> None:
        """One block with its decisions; ``evaluated``: uint64 (8,)."""
        results = result_columns(decision, accepted)
        if block.contiguous:
            keep = rows_worth_keeping(block, decision.initial)
            if not keep.all():
                block = without_empty_rows(block, keep)
                results = {name: values[keep] for name, values in results.items()}
        self._sink.write(block, with_evaluated(evaluated, results, len(block)))
        ledger.add("rows_written", len(block))

    def close(self, status: Status, ledger: Ledger, tables: Mapping[str, pa.Table]) -> None:
        """Publish the blocks, then the tables, each in one step."""
        self._sink.close(status, ledger)
        self.written.append(str(self._path))
        for name, table in tables.items():
            target = self._targets[name]
            pq.write_table(table, target.partial, compression="zstd")
            target.publish()
            self.written.append(str(target.path))

    def abort(self) -> None:
        """Remove everything that is not published."""
        self._sink.abort()
        for target in self._targets.values():
            target.discard()


def result_columns(
    decision: Decision, accepted: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """Columns with one row per crossing; ``with_evaluated`` adds the one that is constant.

    ``evaluated``, ``initial`` and ``prescaled`` are decision words (uint64, 8; algorithm i is bit
    i % 64 of word i // 64, names in the lineage; an algorithm that is 0 in ``evaluated`` is
    unknown, not false). ``finor``, ``veto``, ``accept`` before and ``accept_after_rules`` after
    the trigger rules (equal when rules do not apply) are 0 or 1, uint8.
    """
    return {
        "initial": decision.initial,
        "prescaled": decision.after_prescale,
        "finor": decision.finor.view(np.uint8),
        "veto": decision.veto.view(np.uint8),
        "accept": decision.accept.view(np.uint8),
        "accept_after_rules": accepted.view(np.uint8),
    }


def with_evaluated(
    evaluated: npt.NDArray[np.uint64], results: Mapping[str, npt.NDArray[Any]], rows: int
) -> dict[str, npt.NDArray[Any]]:
    """The columns of a block with ``evaluated``, uint64 (8,), in front of them."""
    return {"evaluated": np.tile(evaluated, (rows, 1)), **results}


def run_lineage(inputs: Sequence[str], menu: Menu, configuration: Mapping[str, object]) -> Lineage:
    """Lineage of a run over ``inputs``."""
    names = [(algorithm.index, algorithm.name) for algorithm in menu.algorithms]
    return lineage_of(list(inputs), configuration=configuration, menu=menu.digest, algorithms=names)
