"""ROOT files as plain columns: every call of uproot of this package is in this file.

Uproot is imported when the first file is opened. Whatever it raises becomes a BadInput that
names the file; sizes that a file claims are held against its real size before anything is read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scout40.streams.errors import BadInput
from scout40.streams.sources.root_envelopes import check_envelopes

Array = npt.NDArray[Any]

MAGIC = b"root"
MAX_DEPTH = 4
MAX_OBJECTS = 512
"""Folders deep and objects wide that are looked at in one file; a damaged one can be endless."""
ENTRIES_PER_BYTE = 1 << 14
"""More entries than this per byte of file are a damaged count, whatever the compression."""

RECORDS = (
    "L1Mu",
    "L1EG",
    "L1Tau",
    "L1Jet",
    "L1EtSum",
    "L1BMTFStub",
    "L1CaloTower",
    "TrigObj",
)
"""Fields of an RNTuple that may be lists of records: member ``pt`` of L1Mu is read as L1Mu_pt."""

HANDLERS = {
    "root": "XRootD: pip install 'scout40[xrootd]'",
    "roots": "XRootD: pip install 'scout40[xrootd]'",
    "xroot": "XRootD: pip install 'scout40[xrootd]'",
    "http": "HTTP: pip install aiohttp",
    "https": "HTTP: pip install aiohttp",
    "s3": "S3: pip install s3fs",
    "gs": "Google storage: pip install gcsfs",
    "gcs": "Google storage: pip install gcsfs",
    "ssh": "SSH: pip install paramiko",
    "sftp": "SSH: pip install paramiko",
}
"""URL scheme -> what has to be installed beside fsspec."""


class Ragged(NamedTuple):
    """A branch with any number of values per entry: entry i has values[offsets[i]:offsets[i+1]].

    values: shape (objects,); offsets: int64, shape (entries + 1,), from 0.
    """

    values: Array
    offsets: npt.NDArray[np.int64]


Column = Array | Ragged


@dataclass(frozen=True)
class Ntuple:
    """One TTree or RNTuple of an open file."""

    file: str
    name: str
    kind: str
    """``TTree`` or ``RNTuple``."""
    entries: int
    branches: tuple[str, ...]
    """All branch names; a branch inside another one as a path with ``/``."""
    handle: Any
    members: Mapping[str, str] = field(default_factory=dict)
    """Branch name -> path of the member of a record that it stands for."""

    def has(self, name: str) -> bool:
        return name in self._names

    @property
    def _names(self) -> frozenset[str]:
        found = self.__dict__.get("names")
        if found is None:
            found = self.__dict__["names"] = frozenset(self.branches)
        return found

    def read(self, names: Iterable[str], start: int, stop: int) -> dict[str, Column]:
        """Entries [start, stop) of the branches, as numbers.

        Raises BadInput for a branch that is missing, not readable, or no number.
        """
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            if not self.has(name):
                raise BadInput("no such branch", file=self.file, field=name)
        with translated(self.file, f"{self.kind} {self.name}: entries {start}..{stop - 1}"):
            arrays = self._arrays(wanted, start, stop)
            columns = {name: _column(arrays[name]) for name in wanted}
        for name, column in columns.items():
            self._check(name, column, stop - start)
        return columns

    def _arrays(self, wanted: list[str], start: int, stop: int) -> dict[str, Any]:
        options = {"entry_start": start, "entry_stop": stop, "library": "ak"}
        if self.kind == "TTree":
            self._check_baskets(wanted)
        if self.kind == "TTree" and len(wanted) > 1 and not any("/" in name for name in wanted):
            # One call, so that a remote file is asked once and not once per branch.
            record = self.handle.arrays(filter_name=set(wanted).__contains__, **options)
            return {name: record[name] for name in wanted}
        paths = {name: self.members.get(name, name) for name in wanted}
        return {name: self.handle[path].array(**options) for name, path in paths.items()}

    def _check_baskets(self, wanted: Sequence[str]) -> None:
        size = size_of(self.handle, self.file)
        for name in wanted:
            branch = self.handle[name]
            if branch.num_entries != self.entries:
                raise BadInput(
                    f"branch has {branch.num_entries} entries, its tree {self.entries}",
                    file=self.file, field=name,
                )  # fmt: skip
            used = branch.member("fWriteBasket")
            places = np.asarray(branch.member("fBasketSeek")[:used], np.int64)
            lengths = np.asarray(branch.member("fBasketBytes")[:used], np.int64)
            if len(places) != len(lengths):
                raise BadInput("list of baskets is damaged", file=self.file, field=name)
            bad = (places < 0) | (lengths < 0) | (places + lengths > size)
            if size and np.any(bad):
                at = int(np.flatnonzero(bad)[0])
                raise BadInput(
                    f"basket {at} lies outside the file of {size} bytes",
                    file=self.file, offset=int(places[at]), field=name,
                )  # fmt: skip

    def _check(self, name: str, column: Column, entries: int) -> None:
        values, length = column, len(column)
        if isinstance(column, Ragged):
            values, length = column.values, len(column.offsets) - 1
        kind = np.asarray(values).dtype.kind
        if kind not in "biuf":
            raise BadInput(f"values are no numbers (kind {kind})", file=self.file, field=name)
        if length != entries:
            raise BadInput(
                f"{length} entries read, {entries} asked for", file=self.file, field=name
            )


def _column(array: Any) -> Column:
    """Numbers of an awkward array: flat, or one level of lists; BadInput for anything deeper."""
    import awkward as ak

    if array.ndim == 1:
        return np.asarray(ak.to_numpy(array, allow_missing=False))
    if array.ndim != 2:
        raise BadInput(f"values of type {array.type.content} are neither numbers nor lists")
    counts = np.asarray(ak.to_numpy(ak.num(array, axis=1)), np.int64)
    values = np.asarray(ak.to_numpy(ak.flatten(array, axis=1), allow_missing=False))
    return Ragged(values, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))


class RootFile:
    """An open ROOT file: its TTrees and RNTuples, and the names of whatever else is in it."""

    def __init__(self, path: str, handle: Any, only: str | None) -> None:
        self.path = path
        self.others: list[str] = []
        self.ntuples: list[Ntuple] = []
        for name, kind in _listing(handle):
            short = {"TTree": "TTree", "TNtuple": "TTree", "TNtupleD": "TTree"}.get(kind)
            short = "RNTuple" if kind == "ROOT::RNTuple" else short
            if short is None:
                self.others.append(f"{name} ({kind})")
            elif (only is None or only == name) and not self._named(name):
                self.ntuples.append(self._ntuple(handle, name, short))
        if only is not None and not self.ntuples:
            found = ", ".join(self.others) or "nothing"
            raise BadInput(f"holds no tree of this name, but {found}", file=path, field=only)

    def _named(self, name: str) -> bool:
        return any(ntuple.name == name for ntuple in self.ntuples)

    def _ntuple(self, handle: Any, name: str, kind: str) -> Ntuple:
        tree = handle[name]
        size = size_of(tree, self.path)
        if kind == "RNTuple":
            check_envelopes(tree, self.path, size)
        entries = int(tree.num_entries)
        if entries < 0 or (size and entries > size * ENTRIES_PER_BYTE):
            raise BadInput(
                f"{kind} {name} claims {entries} entries in a file of {size} bytes", file=self.path
            )
        # The fields below the top of an RNTuple are listed in quadratic time, and not needed.
        names = list(tree.keys(recursive=kind == "TTree"))
        members: dict[str, str] = {}
        for record in RECORDS if kind == "RNTuple" else ():
            if record in names:
                keys = tree[record].keys(recursive=False)
                members |= {f"{record}_{key}": f"{record}.{key}" for key in keys}
        names += [member for member in members if member not in names]
        return Ntuple(self.path, name, kind, entries, tuple(names), tree, members)


def _listing(handle: Any) -> Iterator[tuple[str, str]]:
    """(name, class) of the objects of a file, folders walked; newest cycle of each name first."""
    waiting: list[tuple[str, Any, int]] = [("", handle, 0)]
    seen = 0
    while waiting:
        prefix, folder, depth = waiting.pop(0)
        kinds = folder.classnames(recursive=False, cycle=False)
        for name, kind in kinds.items():
            seen += 1
            if seen > MAX_OBJECTS:
                return
            if kind in {"TDirectory", "TDirectoryFile"}:
                if depth < MAX_DEPTH:
                    waiting.append((f"{prefix}{name}/", folder[name], depth + 1))
            else:
                yield prefix + name, kind


@contextmanager
def opened(path: str) -> Iterator[RootFile]:
    """A ROOT file, local or at a URL; ``FILE:TREE`` restricts it to one tree.

    Raises BadInput when it cannot be opened or is damaged, saying what to install when only the
    protocol is unknown.
    """
    place, only = split_tree(path)
    with translated(place, "not a readable ROOT file"):
        import uproot

        local = "://" not in place
        options: dict[str, Any] = {"array_cache": None, "object_cache": 0}
        if local:
            options["handler"] = uproot.source.file.MemmapSource
            _check_local(place)
        handle = uproot.open({place: None}, **options)
    try:
        with translated(place, "not a readable ROOT file"):
            file = RootFile(place, handle, only)
        yield file
    finally:
        handle.close()


def _check_local(place: str) -> None:
    with open(place, "rb") as stream:
        head = stream.read(4)
    if not head:
        raise BadInput("empty file (0 bytes)", file=place)
    if head != MAGIC:
        raise BadInput(f"not a ROOT file: begins {head.hex(' ')}, not 'root'", file=place)


def split_tree(path: str) -> tuple[str, str | None]:
    """(file, tree or None) of ``FILE:TREE``."""
    if "://" not in path and Path(path).exists():
        return path, None
    found = re.fullmatch(r"(.+\.root(?:\?.*)?):([^:]+)", path)
    if found:
        return found[1], found[2]
    name, colon, tree = path.rpartition(":")
    if colon and "://" not in path and Path(name).is_file():
        return name, tree
    return path, None


def expanded_url(path: str) -> list[str]:
    """The files that a URL with ``*`` stands for, as its protocol lists them; others as they are.

    Raises BadInput when there is none.
    """
    if "://" not in path or not any(sign in path for sign in "*["):
        return [path]
    place, tree = split_tree(path)
    with translated(place, "cannot be listed"):
        import fsspec

        system, pattern = fsspec.core.url_to_fs(place)
        found = [system.unstrip_protocol(name) for name in sorted(system.glob(pattern))]
    if not found:
        raise BadInput("no file matches", file=path)
    return [f"{name}:{tree}" if tree else name for name in found]


def size_of(tree: Any, path: str) -> int:
    """Bytes of the file, 0 when not known."""
    if "://" not in path:
        return os.path.getsize(path)
    try:
        return int(tree.file.source.num_bytes)
    except Exception:  # not every protocol tells
        return 0


@contextmanager
def translated(file: str, doing: str) -> Iterator[None]:
    """Whatever uproot and its libraries raise inside becomes a BadInput.

    They raise almost anything on damaged bytes (a panic of the compression library does not even
    derive from Exception), so all but the three signals of the interpreter are taken.
    """
    try:
        yield
    except (BadInput, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except FileNotFoundError:
        raise BadInput("no such file", file=file) from None
    except BaseException as error:
        raise BadInput(_said(file, doing, error), file=file) from None


def _said(file: str, doing: str, error: BaseException) -> str:
    scheme = file.partition("://")[0].rpartition("::")[2] if "://" in file else ""
    text = " ".join(str(error).split())[:300]
    missing = isinstance(error, ImportError) or "not known" in text or "rotocol" in text
    if scheme and missing:
        need = HANDLERS.get(scheme)
        told = f"needs a handler for {need}" if need else f"no fsspec handler for {scheme}://"
        return f"cannot be opened, {told} ({type(error).__name__}: {text})"
    if isinstance(error, ImportError):
        return f"needs a package that is not installed: {text}"
    if isinstance(error, MemoryError):
        return f"{doing}: claims more memory than there is"
    return f"{doing} ({type(error).__name__}: {text})"
