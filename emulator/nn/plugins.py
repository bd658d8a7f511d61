"""Plug-ins of the menu from a folder of network files: conditions on a score, such as AXO.

An AXO condition names a model and a threshold. The network of model ``v4`` is ``v4.json`` with
``v4.npz``, or the folder ``v4`` with ``network.json``; the score is its only output.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scout40.emulator.nn.crossing_inputs import CrossingNetwork
from scout40.emulator.nn.files import load_network
from scout40.emulator.ugt.compile import Plugin
from scout40.emulator.ugt.model import Menu, Requirement
from scout40.streams.block import Block
from scout40.streams.errors import BadConfig

OBJECT = "AXO"


@dataclass
class _Last(threading.local):
    """The block that a thread asked about last, with its scores by model."""

    block: Block | None = None
    scores: dict[str, npt.NDArray[np.int64]] | None = None


class Scores:
    """The plug-in for AXO: score >= threshold, by model. Threads may share it.

    The conditions of a menu ask one after the other for the same block; each network runs once.
    """

    def __init__(self, networks: Mapping[str, CrossingNetwork]) -> None:
        self.networks = dict(networks)
        self._last = _Last()

    def __call__(self, block: Block, requirement: Requirement) -> npt.NDArray[np.bool_]:
        model, threshold = _asked(requirement)
        last = self._last
        if last.block is not block or last.scores is None:
            last.block, last.scores = block, {}
        if model not in last.scores:
            last.scores[model] = self.networks[model].scores(block)
        return np.asarray(last.scores[model] >= threshold)

    def missing(self, requirement: Requirement, inputs: frozenset[str]) -> str:
        """Why a condition cannot be evaluated from ``inputs``; empty when it can."""
        model, _ = _asked(requirement)
        network = self.networks.get(model)
        if network is None:
            return f"{OBJECT} needs network {model}" if model else f"{OBJECT} names no model"
        lacking = sorted(network.needs - inputs)
        return "input has no " + ", ".join(lacking) if lacking else ""

    def on_empty(self, requirement: Requirement) -> bool:
        """Whether a crossing without any object fires."""
        model, threshold = _asked(requirement)
        return self.networks[model].of_nothing >= threshold

    @property
    def models(self) -> dict[str, str]:
        """Model -> ``model_id`` of its network, for the lineage."""
        return {model: held.network.model_id for model, held in sorted(self.networks.items())}


def load_plugins(menu: Menu, folder: str | Path) -> dict[str, Plugin]:
    """Plug-ins for ``menu`` from the network files in ``folder``.

    Only networks of models that the menu names are read; conditions on others stay not evaluated.

    Raises BadConfig for a folder that is none, or naming file and field of a network that cannot
    be used.
    """
    place = Path(folder)
    if not place.is_dir():
        raise BadConfig(f"{folder}: no folder of networks")
    asked = {
        _asked(requirement)[0]
        for condition in menu.conditions
        for requirement in condition.requirements
        if requirement.object == OBJECT
    }
    return {OBJECT: Scores({m: _load(path) for m, path in sorted(_files(place)) if m in asked})}


def _files(folder: Path) -> Iterable[tuple[str, Path]]:
    """(model, JSON file) of the networks in a folder; BadConfig when there are two of a name.

    The folder is listed and names of the menu are only compared, so none leads out of it.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        inner = path / "network.json"
        file = inner if inner.is_file() else path
        if file.suffix == ".json" and file.is_file():
            model = path.stem if file is path else path.name
            if model in found:
                raise BadConfig(f"{file}: network {model} is also in {found[model]}")
            found[model] = file
    return found.items()


def _load(path: Path) -> CrossingNetwork:
    network = load_network(path)
    try:
        return CrossingNetwork(network)
    except BadConfig as problem:
        raise BadConfig(f"{path}: {problem}") from None


def _asked(requirement: Requirement) -> tuple[str, int]:
    """(model, threshold) of a condition; BadConfig without a threshold."""
    cuts = dict(requirement.network)
    if not cuts.get("SCORE", "").isdecimal():
        raise BadConfig(f"{requirement.object}: a condition without a score to compare with")
    return cuts.get("MODEL", ""), int(cuts["SCORE"])
