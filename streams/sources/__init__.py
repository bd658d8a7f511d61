"""Sources of blocks, chosen by looking at the content of what is given."""

from __future__ import annotations

import glob
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scout40.streams.errors import BadConfig, BadInput
from scout40.streams.sources.base import Source

TOLERANT = (["root"], ["raw"])
"""Kinds whose source counts an unreadable file among several as bad and goes on."""

FEW = 3
"""Inputs that a message names one by one."""

HEAD = 4096
"""Bytes of each input that are looked at to find out what it is."""

UNFINISHED = ".scout40-partial"
"""Ending of outputs that a killed run left behind."""

KINDS: dict[str, tuple[str, str]] = {
    "root": ("RootSource", "ROOT files (NanoAOD, scouting NanoAOD, flat trees)"),
    "links": ("LinksSource", "tables of track-finder links (Parquet, Arrow)"),
    "towers": ("TowersSource", "tables of trigger towers (Parquet, Arrow)"),
    "arrow": ("ArrowSource", "Arrow and Parquet written by scout40"),
    "mp7_pattern": ("Mp7PatternSource", "uGMT pattern files of MP7 boards"),
    "ugmt_bench": ("UgmtBenchSource", "uGMT test benches"),
    "raw": ("RawSource", "raw scouting data (FRD files)"),
    "phase2": ("Phase2Source", "phase-2 tracker-muon and puppi packets"),
    "testvector": ("TestVectorSource", "uGT test vectors"),
}
"""Module of this package -> its source class and what it reads, in the order they are asked.

A module has ``recognise(head, path) -> bool``; adding a source is a row here.
"""


def open_source(paths: Sequence[str], *, map_file: str | None = None) -> Source:
    """The source for ``paths``: files, folders, globs (``**`` too) or URLs, of one kind.

    map_file:
        TOML map of branches, for plain ROOT trees.

    Raises BadInput for a missing input, for empty files and unknown content (unless they stand
    among good files of a tolerant kind, which counts them), and for inputs of different kinds.
    """
    places = expanded(paths)
    kinds: dict[str, str] = {}
    failures: list[BadInput] = []
    for place in places:
        try:
            kinds[place] = _kind_of(place)
        except BadInput as failure:
            if not Path(place).exists():
                raise
            failures.append(failure)
    chosen = sorted(set(kinds.values()))
    if len(chosen) > 1:
        examples = "; ".join(
            f"{next(p for p, k in kinds.items() if k == kind)} is of {KINDS[kind][1]}"
            for kind in chosen
        )
        raise BadInput(f"inputs of different kinds cannot be read together: {examples}")
    if failures and chosen not in TOLERANT:
        raise failures[0] if kinds or len(failures) == 1 else _none_of(failures)
    name = KINDS[chosen[0]][0]
    options: dict[str, Any] = {}
    if map_file is not None:
        if chosen != ["root"]:
            raise BadConfig(
                f"{map_file}: a branch map is for ROOT files, not {KINDS[chosen[0]][1]}"
            )
        options["map_file"] = map_file
    make: Callable[..., Source] = getattr(_module(chosen[0]), name)
    return make(places, **options)


def _none_of(failures: Sequence[BadInput]) -> BadInput:
    """One error for inputs of which none is known, a folder of other things for instance."""
    accepted = _accepted()
    shown = "; ".join(str(failure).removesuffix(accepted) for failure in failures[:FEW])
    more = "; ..." if len(failures) > FEW else ""
    return BadInput(f"none of {len(failures)} inputs can be used: {shown}{more}{accepted}")


def expanded(paths: Sequence[str]) -> list[str]:
    """Globs and folders as the files they stand for, in order; a folder of tables stays one."""
    if not paths:
        raise BadInput("no input given")
    found: list[str] = []
    for path in paths:
        if "://" in path and not path.startswith("file://"):
            found.append(path)
            continue
        plain = path.removeprefix("file://")
        if Path(plain).exists() or not glob.has_magic(plain):
            found += _files_of(plain)
            continue
        matches = sorted(glob.glob(plain, recursive=True))
        if not matches:
            raise BadInput("no file matches", file=path)
        for match in matches:
            found += _files_of(match)
    return found


def _files_of(path: str) -> list[str]:
    place = Path(path)
    if not place.is_dir() or path.endswith(UNFINISHED) or _module("arrow").recognise(b"", path):
        return [path]
    files = sorted(str(p) for p in place.iterdir() if p.is_file() and p.name[0] not in "._")
    if not files:
        raise BadInput("folder without files", file=path)
    return files


def _kind_of(path: str) -> str:
    if path.endswith(UNFINISHED):
        raise BadInput("an output that was never finished", file=path)
    if "://" in path:
        return "root"  # only ROOT is read through URLs; its reader reports what it cannot open
    head = _head_of(path)
    for kind in KINDS:
        if _module(kind).recognise(head, path):
            return kind
    begin = head[:16].hex(" ")
    raise BadInput(f"content not recognised (begins {begin}){_accepted()}", file=path)


def _accepted() -> str:
    return "; accepted: " + "; ".join(text for _, text in KINDS.values())


def _head_of(path: str) -> bytes:
    """First bytes of a file, none for a folder; BadInput when there is nothing to look at."""
    place = Path(path)
    if place.is_dir():
        return b""
    name, colon, _ = path.rpartition(":")
    if not place.exists() and colon and Path(name).is_file():
        place = Path(name)  # FILE:TREE, as uproot takes it
    try:
        with place.open("rb") as stream:
            head = stream.read(HEAD)
    except FileNotFoundError:
        raise BadInput("no such file", file=path) from None
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror or error}", file=path) from None
    if not head:
        raise BadInput("empty file (0 bytes)", file=path)
    return head


def _module(kind: str) -> Any:
    return importlib.import_module(f"{__name__}.{kind}")
