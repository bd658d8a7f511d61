"""Files: round trips, the page of the documentation, and what must be refused."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scout40.emulator.nn import Fixed, infer, load_network, save_network
from scout40.streams.errors import BadConfig
from tests.emulator.nn.networks import RND_SAT, STUDENT, inputs_for, mlp, random_network

SMALL = mlp((3, 4, 2), RND_SAT, Fixed.parse("ap_fixed<8,3>"), None)


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(seed: int, tmp_path: Path) -> None:
    network = random_network(seed)
    x = inputs_for(network, 200)
    for place in (tmp_path / "folder", tmp_path / "pair.json"):
        again = load_network(save_network(network, place))
        assert again.model_id == network.model_id
        assert (infer(again, x) == infer(network, x)).all()
    assert load_network(tmp_path / "folder").model_id == network.model_id


def test_page_of_the_documentation(repository: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The file of docs/networks.md, made as written there, computes what the page says."""
    page = (repository / "docs" / "networks.md").read_text()
    program = re.search(r"```python\n(import json\n.*?)```", page, re.DOTALL)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(program[1], "networks.md", "exec"), {})
    network = load_network("tiny.json")
    x = np.array([[1024, -512], [0, 0], [32767, -32768]])
    w1 = np.array([[32, -16, 8, 100], [-128, 127, 0, 5]])
    hidden = (x @ w1 + 32 * np.array([0, 1024, -512, 3]) + 16) >> 5
    active = np.clip(hidden, 0, 32767)
    total = 10 + sum((active[:, k] * w >> 5 for k, w in enumerate((1, -2, 3, -4))), start=0)
    expected = ((total + 32768) & 65535) - 32768
    assert infer(network, x)[:, 0].tolist() == expected.tolist()


def test_model_id_is_of_the_contents(tmp_path: Path) -> None:
    """Names, order of keys, widths and names of arrays do not count; any number does."""
    path = save_network(SMALL, tmp_path / "a.json")
    document = json.loads(path.read_text())
    arrays = dict(np.load(tmp_path / "a.npz"))
    swapped = {name: f"array {n}" for n, name in enumerate(sorted(arrays, reverse=True))}
    for node in document["nodes"]:
        for key in ("weights", "bias"):
            if key in node:
                node[key] = swapped[node[key]]
    document = dict(reversed(list(document.items()))) | {"name": "other", "about": {"a": "b"}}
    (tmp_path / "b.json").write_text(json.dumps(document))
    renamed: dict[str, Any] = {
        swapped[n]: np.asfortranarray(v, np.int16) for n, v in arrays.items()
    }
    np.savez_compressed(tmp_path / "b.npz", **renamed)
    assert load_network(tmp_path / "b.json").model_id == SMALL.model_id
    values = arrays["dense0/weights"].copy()
    values[0, 0] += 1 if values[0, 0] < 127 else -1
    del document["model_id"]
    (tmp_path / "b.json").write_text(json.dumps(document))
    renamed[swapped["dense0/weights"]] = values
    np.savez(tmp_path / "b.npz", **renamed)
    assert load_network(tmp_path / "b.json").model_id != SMALL.model_id


def _set(*path: Any) -> Callable[[Any], None]:
    """Change: the last of ``path`` becomes the value at the places before it."""

    def change(document: Any) -> None:
        *places, key, value = path
        for place in places:
            document = document[place]
        if value is ...:
            del document[key]
        else:
            document[key] = value

    return change


BAD: list[tuple[Callable[[Any], None], str]] = [
    (_set("format", "scout40 network 2"), "format"),
    (_set("extra", 1), "unknown key 'extra'"),
    (_set("nodes", ...), "'nodes' is missing"),
    (_set("nodes", {}), "nodes: expected a list"),
    (_set("name", "a b"), "no name"),
    (_set("name", 3), "expected a text"),
    (_set("about", {"a": 1}), "about"),
    (_set("model_id", "0" * 32), "model_id"),
    (_set("inputs", []), "at least one"),
    (_set("outputs", 0, "name", "nothing"), "output 'nothing'"),
    (_set("inputs", 0, "shape", [0]), "input 'x', shape"),
    (_set("inputs", 0, "shape", [1 << 40]), "input 'x', shape"),
    (_set("inputs", 0, "shape", [True]), "whole number"),
    (_set("inputs", 0, "shape", [3.0]), "whole number"),
    (_set("inputs", 0, "features", [{"name": "a"}]), "features"),
    (_set("inputs", 0, "features", [{"name": "a", "scale": 1000}] * 3), "scale"),
    (_set("inputs", 0, "type", "ap_fixed<99,6>"), "input 'x', type"),
    (_set("nodes", 0, "kind", "lstm"), "node 'dense0', kind"),
    (_set("nodes", 0, "kind", ["dense"]), "node 'dense0', kind"),
    (_set("nodes", 0, "units", 4), "node 'dense0': unknown key 'units'"),
    (_set("nodes", 0, "bias", ...), "node 'dense0': key 'bias' is missing"),
    (_set("nodes", 0, "bias", "lost"), "node 'dense0', bias: no array 'lost'"),
    (_set("nodes", 0, "bias", "dense1/bias"), "node 'dense0', bias: shape"),
    (_set("nodes", 0, "weights", "dense1/weights"), "node 'dense0', weights: shape"),
    (_set("nodes", 0, "weight_type", "ap_fixed<3,3>"), "node 'dense0', weights: mantissas"),
    (_set("nodes", 0, "accumulator", "wide"), "node 'dense0', accumulator"),
    (_set("nodes", 0, "input", "relu0"), "node 'dense0': no tensor 'relu0'"),
    (_set("nodes", 1, "name", "dense0"), "such a tensor already"),
    (_set("nodes", 2, "type", "ap_fixed<62,0>"), "node 'dense1', type: numbers of up to"),
    (_set("nodes", 0, 7), "node 0"),
]


@pytest.mark.parametrize(("change", "text"), BAD, ids=[text for _, text in BAD])
def test_refused(change: Callable[[Any], None], text: str, tmp_path: Path) -> None:
    path = save_network(SMALL, tmp_path / "bad.json")
    document = json.loads(path.read_text())
    if text != "model_id":
        del document["model_id"]
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(BadConfig, match=re.escape(text)) as caught:
        load_network(path)
    assert str(path) in str(caught.value)


def test_unused_double_and_missing(tmp_path: Path) -> None:
    path = save_network(SMALL, tmp_path / "net.json")
    text = path.read_text()
    path.write_text(text.replace('"name": "mlp"', '"name": "mlp", "name": "mlp"'))
    with pytest.raises(BadConfig, match="'name' stands twice"):
        load_network(path)
    path.write_text(text)
    np.savez(tmp_path / "net.npz", **dict(np.load(tmp_path / "net.npz")), more=np.zeros(3, int))
    with pytest.raises(BadConfig, match="'more' is used by no node"):
        load_network(path)
    (tmp_path / "net.npz").unlink()
    with pytest.raises(BadConfig, match="no array 'dense0/weights'"):
        load_network(path)
    with pytest.raises(BadConfig, match="cannot be read"):
        load_network(tmp_path / "lost.json")
    path.write_text("[" * 100_000)
    with pytest.raises(BadConfig, match="not JSON"):
        load_network(path)


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((3, 4)), "expected integers"),
        (np.array([{}], object), "expected integers"),
        (np.zeros((3, 4), np.uint64), "expected integers"),
    ],
)
def test_refused_arrays(array: Any, text: str, tmp_path: Path) -> None:
    path = save_network(SMALL, tmp_path / "net.json")
    arrays = dict(np.load(tmp_path / "net.npz")) | {"dense0/weights": array}
    np.savez(tmp_path / "net.npz", **arrays)
    with pytest.raises(BadConfig, match=text):
        load_network(path)


def test_header_larger_than_the_file(tmp_path: Path) -> None:
    """A shape that asks for a terabyte is refused before memory is taken."""
    path = save_network(SMALL, tmp_path / "net.json")
    header = b"{'descr': '<i8', 'fortran_order': False, 'shape': (1099511627776, 1), }"
    header = header.ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "net.npz", "w") as archive:
        archive.writestr("dense0/weights.npy", data + bytes(64))
    with pytest.raises(BadConfig, match="more bytes than there are"):
        load_network(path)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files(seed: int, tmp_path: Path) -> None:
    """Whatever bytes change: a network or BadConfig, nothing else."""
    rng = np.random.default_rng(seed)
    path = save_network(mlp(STUDENT, RND_SAT, RND_SAT, RND_SAT), tmp_path / "net.json")
    originals = {one: one.read_bytes() for one in (path, path.with_suffix(".npz"))}
    loaded = 0
    for _ in range(250):
        for one, data in originals.items():
            changed = bytearray(data)
            for _ in range(rng.integers(0, 4)):
                place = int(rng.integers(len(changed)))
                if rng.random() < 0.7:
                    changed[place] = rng.integers(256)
                elif rng.random() < 0.5:
                    del changed[place : place + int(rng.integers(1, 40))]
                else:
                    changed[place:place] = changed[: int(rng.integers(1, 40))]
            one.write_bytes(changed)
        try:
            load_network(path)
            loaded += 1
        except BadConfig:
            continue
    assert 0 < loaded < 250
