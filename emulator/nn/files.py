"""Network files: a JSON description beside a NumPy archive of integer arrays.

Either a folder with ``network.json`` and ``network.npz``, or NAME.json with NAME.npz beside it.
Nothing in them is executed or unpickled, and sizes are bounded before memory is taken.
"""

from __future__ import annotations

import json
import typing
import zipfile
import zlib
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import numpy as np

from scout40.emulator.nn.fixed import Fixed, Mantissas
from scout40.emulator.nn.network import FORMAT, Feature, Input, Network, Output
from scout40.emulator.nn.nodes import KINDS
from scout40.streams.errors import BadConfig

MAX_JSON = 16 << 20
MAX_ARRAYS = 256 << 20
"""Bytes of all arrays together, unpacked."""

Item = dict[str, Any]


def load_network(path: str | Path) -> Network:
    """The network in a folder or in NAME.json with NAME.npz.

    Raises BadConfig naming file, node and field for anything that docs/networks.md does not allow.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "network.json"
    try:
        document = _json(path)
        arrays = Arrays(path.with_suffix(".npz"))
        network = _network(document, arrays)
        unused = sorted(set(arrays.values) - arrays.used)
        if unused:
            raise BadConfig(f"{arrays.path.name}: array {unused[0][:80]!r} is used by no node")
    except BadConfig as problem:
        raise BadConfig(f"{path}: {problem}") from None
    return network


def save_network(network: Network, path: str | Path) -> Path:
    """Write ``network`` into a folder (made if missing) or as NAME.json and NAME.npz.

    Returns the JSON file. ``load_network`` gives a network with the same ``model_id``.
    """
    path = Path(path)
    if path.suffix != ".json":
        path.mkdir(parents=True, exist_ok=True)
        path = path / "network.json"
    arrays: dict[str, Mantissas] = {}
    document = {
        "format": FORMAT,
        "name": network.name,
        "model_id": network.model_id,
        "about": dict(network.about),
        "inputs": [_plain(one, "", arrays) for one in network.inputs],
        "nodes": [
            {"kind": one.kind, **_plain(one, f"{one.name}/", arrays)} for one in network.nodes
        ],
        "outputs": [_plain(one, "", arrays) for one in network.outputs],
    }
    with open(path.with_suffix(".npz"), "wb") as stream:
        # Type checkers take the arrays for its keyword ``allow_pickle``, which numpy 1 has not.
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def _plain(item: Any, prefix: str, arrays: dict[str, Mantissas]) -> Item:
    """JSON values of a dataclass; its arrays go to ``arrays``, what has its default is left out."""
    found: Item = {}
    for one in fields(item):
        value = getattr(item, one.name)
        if one.default is not MISSING and value == one.default:
            continue
        if isinstance(value, np.ndarray):
            arrays[prefix + one.name] = value
            value = prefix + one.name
        elif value is None:
            value = EXACT
        elif isinstance(value, Fixed):
            value = str(value)
        elif isinstance(value, tuple):
            value = [
                _plain(v, "", arrays) if isinstance(v, Feature)
                else str(v) if isinstance(v, Fixed) else v
                for v in value
            ]  # fmt: skip
        found[one.name] = value
    return found


EXACT = "exact"


def _network(document: Any, arrays: Arrays) -> Network:
    keys = ("format", "name", "model_id", "about", "inputs", "nodes", "outputs")
    top = _item("file", document, keys, ("model_id", "about"))
    if top["format"] != FORMAT:
        raise BadConfig(f"format: {str(top['format'])[:80]!r}, expected {FORMAT!r}")
    about = top.get("about", {})
    if not isinstance(about, dict) or not all(isinstance(v, str) for v in about.values()):
        raise BadConfig("about: expected an object of texts")
    nodes = []
    for n, item in enumerate(_list("nodes", top["nodes"])):
        where = _where("node", n, item)
        kind = item.get("kind") if isinstance(item, dict) else None
        if not isinstance(kind, str) or kind not in KINDS:
            known = ", ".join(KINDS)
            raise BadConfig(f"{where}, kind: {str(kind)[:80]!r}, expected one of {known}")
        rest = {key: value for key, value in item.items() if key != "kind"}
        nodes.append(_built(where, KINDS[kind], rest, arrays))
    network = Network(
        name=_text("name", top["name"]),
        inputs=tuple(
            _built(_where("input", n, one), Input, one, arrays)
            for n, one in enumerate(_list("inputs", top["inputs"]))
        ),
        nodes=tuple(nodes),
        outputs=tuple(
            _built(_where("output", n, one), Output, one, arrays)
            for n, one in enumerate(_list("outputs", top["outputs"]))
        ),
        about=about,
    )
    if "model_id" in top and top["model_id"] != network.model_id:
        raise BadConfig(
            f"model_id: {str(top['model_id'])[:80]!r}, but the contents have {network.model_id!r}; "
            "a hand-written file may leave it out"
        )
    return network


def _built(where: str, cls: Any, item: Any, arrays: Arrays) -> Any:
    """An instance of a dataclass, its keys checked against the annotations of the fields."""
    hints = typing.get_type_hints(cls)
    known: tuple[Field[Any], ...] = fields(cls)
    optional = tuple(one.name for one in known if one.default is not MISSING)
    item = _item(where, item, tuple(one.name for one in known), optional)
    return cls(
        **{key: _value(f"{where}, {key}", hints[key], value, arrays) for key, value in item.items()}
    )


def _value(where: str, hint: Any, value: Any, arrays: Arrays) -> Any:
    """A JSON value as what the annotation of a field asks for."""
    if hint is str:
        return _text(where, value)
    if hint is int:
        return _integer(where, value)
    if hint is Fixed:
        return _type(where, value)
    if hint == Fixed | None:
        return None if value == EXACT else _type(where, value)
    if hint == Mantissas:
        return arrays.take(where, _text(where, value))
    inner = typing.get_args(hint)[0]  # the rest are tuples of one kind
    if inner is Feature:
        return tuple(
            _built(f"{where} {n}", Feature, one, arrays)
            for n, one in enumerate(_list(where, value))
        )
    return tuple(_value(where, inner, one, arrays) for one in _list(where, value))


class Arrays:
    """Arrays of an archive, checked while they are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used: set[str] = set()
        self.values: dict[str, Mantissas] = {}
        if not path.exists():
            return
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if sum(one.file_size for one in members) > MAX_ARRAYS:
                    raise BadConfig(f"{path.name}: more than {MAX_ARRAYS} bytes of arrays")
                for one in members:
                    name = one.filename.removesuffix(".npy")
                    self.values[name] = self._read(archive, one)
        # NotImplementedError, RuntimeError: a compression or encryption that zipfile cannot undo.
        except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError,
                RuntimeError, zlib.error) as problem:  # fmt: skip
            raise BadConfig(f"{path.name}: no archive of arrays: {problem}") from None

    def _read(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Mantissas:
        """One array as int64. Its header must agree with its size before memory is taken."""
        where = f"{self.path.name}, array {member.filename[:80]!r}"
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise BadConfig(f"{where}: version {version} of the format, expected 1.0 or 2.0")
            if dtype.kind not in "iu" or dtype == np.uint64:
                raise BadConfig(f"{where}: {dtype} numbers, expected integers up to int64")
            count = 1
            for size in shape:
                count *= size
            if count < 0 or count * dtype.itemsize > member.file_size:
                raise BadConfig(f"{where}: shape {shape} needs more bytes than there are")
            data = stream.read(count * dtype.itemsize + 1)
        if len(data) != count * dtype.itemsize:
            raise BadConfig(f"{where}: {len(data)} bytes do not make shape {shape}")
        values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        result = np.ascontiguousarray(values.astype(np.int64))
        result.flags.writeable = False
        return result.reshape(shape)

    def take(self, where: str, name: str) -> Mantissas:
        if name not in self.values:
            raise BadConfig(f"{where}: no array {name[:80]!r} in {self.path.name}")
        self.used.add(name)
        return self.values[name]


def _json(path: Path) -> Any:
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_JSON + 1)
    except OSError as problem:
        raise BadConfig(f"cannot be read: {problem.strerror}") from None
    if len(data) > MAX_JSON:
        raise BadConfig(f"larger than {MAX_JSON} bytes")

    def once(pairs: list[tuple[str, Any]]) -> Item:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            double = next(key for key in keys if keys.count(key) > 1)
            raise BadConfig(f"key {double[:80]!r} stands twice in one object")
        return found

    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=once)
    except (ValueError, RecursionError) as problem:
        raise BadConfig(f"not JSON: {str(problem)[:200]}") from None


def _where(what: str, number: int, item: Any) -> str:
    """How errors call an item: by its name, if it has one."""
    name = item.get("name") if isinstance(item, dict) else None
    return f"{what} {name[:80]!r}" if isinstance(name, str) else f"{what} {number}"


def _item(where: str, item: Any, known: tuple[str, ...], optional: tuple[str, ...]) -> Item:
    if not isinstance(item, dict):
        raise BadConfig(f"{where}: expected an object with the keys {', '.join(known)}")
    for key in item:
        if key not in known:
            raise BadConfig(f"{where}: unknown key {key[:80]!r}; accepted: {', '.join(known)}")
    for key in known:
        if key not in item and key not in optional:
            raise BadConfig(f"{where}: key {key!r} is missing")
    return item


def _list(where: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadConfig(f"{where}: expected a list")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadConfig(f"{where}: expected a text")
    return value


def _integer(where: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 1 << 62:
        raise BadConfig(f"{where}: {str(value)[:40]!r}, expected a whole number")
    return value


def _type(where: str, value: Any) -> Fixed:
    try:
        return Fixed.parse(_text(where, value))
    except BadConfig as problem:
        raise BadConfig(f"{where}: {problem}" if "expected a text" not in str(problem)
                        else str(problem)) from None  # fmt: skip
