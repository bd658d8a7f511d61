"""Lineage: what an output was made from, by what, with which bit layouts.

It travels in the schema metadata of every output. Nothing in it depends on the time, the machine
or the folder, so identical runs write identical files.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import json
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from scout40.streams.layout import Word


@dataclass(frozen=True, slots=True)
class Lineage:
    """What one output was made from.

    configuration, menu:
        SHA-256 of the run's configuration and of the menu file, "" when there was none.
    sources:
        (name without folder, size in bytes; -1 when not known) of every input.
    board:
        what computed the decisions; "cpu" for the compiled menu.
    algorithms:
        (bit, name) of the decision words.
    tables:
        (name, source) of what stages before the menu used: versions, settings and look-up tables,
        the latter as file name with SHA-256 or as "computed".
    """

    version: str
    layout: str
    configuration: str = ""
    menu: str = ""
    sources: tuple[tuple[str, int], ...] = ()
    board: str = "cpu"
    algorithms: tuple[tuple[int, str], ...] = ()
    tables: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(
            {name: getattr(self, name) for name in self.__dataclass_fields__}, sort_keys=True
        )


def lineage_of(
    paths: Sequence[str | Path],
    *,
    configuration: Mapping[str, object] | None = None,
    menu: str = "",
    board: str = "cpu",
    algorithms: Sequence[tuple[int, str]] = (),
) -> Lineage:
    """Lineage of a run over ``paths`` (files, folders or URLs).

    configuration: what the run was asked to do, as JSON values; paths do not belong in it.
    menu: digest of the menu (``Menu.digest``).
    """
    chosen = json.dumps(configuration, sort_keys=True) if configuration else ""
    return Lineage(
        version=package_version(),
        layout=layout_version(),
        configuration=hashlib.sha256(chosen.encode()).hexdigest() if chosen else "",
        menu=menu,
        sources=tuple(source_identity(path) for path in paths),
        board=board,
        algorithms=tuple(algorithms),
    )


def source_identity(path: str | Path) -> tuple[str, int]:
    """Name without its folder, and size in bytes: of a folder the sum, of a URL -1."""
    text = str(path)
    if "://" in text:
        return text.rstrip("/").rsplit("/", 1)[-1], -1
    place = Path(text)
    if place.is_dir():
        return place.name, sum(p.stat().st_size for p in sorted(place.iterdir()) if p.is_file())
    return place.name, place.stat().st_size if place.exists() else -1


def package_version() -> str:
    """Version of the installed package; "unknown" when it was never installed."""
    try:
        return importlib.metadata.version("scout40")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@functools.cache
def layout_version() -> str:
    """Digest of every declared word: changes when any bit, sign or scale of any word changes."""
    digest = hashlib.sha256()
    for word in declared_words():
        digest.update(f"{word.__name__} {word.storage.str} {word.words}\n".encode())
        for name, bits in word.fields.items():
            scale = f"{bits.scale.lsb!r} {bits.scale.unit}" if bits.scale else "-"
            place = f"{bits.word} {bits.lo} {bits.width} {bits.signed} {bits.limit}"
            digest.update(f"{name} {place} {scale}\n".encode())
    return digest.hexdigest()[:16]


def declared_words() -> list[type[Word]]:
    """Every Word of ``streams/formats``, by module and name."""
    return [
        value
        for module in _format_modules()
        for _, value in sorted(vars(module).items())
        if isinstance(value, type)
        and issubclass(value, Word)
        and value is not Word
        and value.__module__ == module.__name__
    ]


@functools.cache
def table_words(scouting: bool = False) -> dict[str, tuple[type[Word], ...]]:
    """Table name -> the words that declare its columns; of a column in two, the first counts.

    scouting:
        the words of the scouting stream, whose calorimeter azimuth has another scale than the
        same bits at the global trigger.
    """
    from scout40.streams.formats import bmtf, gmt, phase2, tower, track_finder, ugt
    from scout40.streams.formats.scouting import SCOUTING_WORDS

    if scouting:
        return {name: (word,) for name, word in SCOUTING_WORDS.items()}
    found: dict[str, tuple[type[Word], ...]] = {n: (w,) for n, w in ugt.OBJECT_WORDS.items()}
    found["mu"] = (ugt.UgtMuon, gmt.ScoutingMuonAll)
    found |= {"mu_intermediate": found["mu"], "tfmu": track_finder.TFMU_WORDS}
    return found | {"stub": (bmtf.BmtfStub,), "tower": (tower.CaloTower,)} | phase2.OBJECT_WORDS


def _format_modules() -> list[ModuleType]:
    package = importlib.import_module("scout40.streams.formats")
    names = sorted(info.name for info in pkgutil.iter_modules(package.__path__))
    return [importlib.import_module(f"{package.__name__}.{name}") for name in names]
