"""GMT packets: reference unpackings, an independent NumPy unpacker, and bad packets."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.errors import BadInput
from scout40.streams.formats.gmt import GmtBlockHeader, GmtMuon, charge
from scout40.streams.formats.scouting import physical
from scout40.streams.sources import raw_tables
from scout40.streams.sources.raw_tables import unpack_gmt
from scout40.streams.sources.raw_unpack import (
    BAD_BX,
    CUT_BODY,
    CUT_HEADER,
    MAX_ORBITS,
    Packets,
    packets_of,
)

Array = npt.NDArray[Any]


def numpy_unpack(packets: Packets, keep_intermediate: bool = False) -> dict[str, Array]:
    """The same work, vectorised: walks the blocks of all packets side by side."""
    words = packets.words.astype(np.int64)
    at, stop, orbit = packets.starts.copy(), packets.stops, packets.orbit
    heads, orbits = [], []
    while len(at):
        live = at < stop
        at, stop, orbit = at[live], stop[live], orbit[live]
        heads.append(at)
        orbits.append(orbit)
        at = at + 3 + 3 * (((words[at] >> 16) & 15) + (words[at] & 15))
    head, orbit = np.concatenate(heads), np.concatenate(orbits)
    count = ((words[head] >> 16) & 15) + (words[head] & 15)
    owner = np.repeat(np.arange(len(head)), count)
    slot = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    place = head[owner] + 3 + 3 * slot
    f, s, e = words[place], words[place + 1], words[place + 2]
    eta = np.where(e & 1, e >> 22, e >> 13) & 0x1FF
    at_vertex = f >> 23
    found = {
        "orbit": orbit[owner], "bx": words[head + 1][owner], "interm": e >> 31,
        "hw_phi_at_vtx": f & 0x3FF, "hw_pt": (f >> 10) & 0x1FF, "hw_qual": (f >> 19) & 15,
        "hw_eta_at_vtx": np.where(at_vertex > 255, at_vertex - 512, at_vertex),
        "hw_iso": s & 3, "hw_sign": (s >> 2) & 1, "hw_charge_valid": (s >> 3) & 1,
        "tf_muon_index": (s >> 4) & 0x7F, "hw_phi": (s >> 11) & 0x3FF,
        "hw_pt_unconstrained": (s >> 21) & 0xFF, "hw_shower": (s >> 29) & 1,
        "hw_dxy": (s >> 30) & 3, "hw_eta": np.where(eta > 256, eta - 512, eta),
    }  # fmt: skip
    good = (found["hw_pt"] > 0) & (keep_intermediate | (found["interm"] == 0))
    order = np.lexsort((place[good], found["bx"][good], found["orbit"][good]))
    return {name: column[good][order] for name, column in found.items()}


def block(bx: int, muons: int, rng: np.random.Generator) -> Array:
    """One block with random words."""
    first = int(rng.integers(max(0, muons - 15), min(15, muons) + 1))
    head = GmtBlockHeader.pack({"n_a": np.array([first]), "n_b": np.array([muons - first])})[0]
    head[1:] = bx, rng.integers(0, 2**31)
    return np.concatenate([head, rng.integers(0, 2**32, 3 * muons).astype(np.uint32)])


def packets(seed: int, crossings: list[list[int]]) -> Packets:
    """One packet for each list of crossings."""
    rng = np.random.default_rng(seed)
    arrays = []
    for orbit in crossings:
        blocks = [block(bx, int(rng.integers(0, 31)), rng) for bx in orbit]
        arrays.append(np.concatenate([np.zeros(0, np.uint32), *blocks]))
    return packets_of(arrays, range(len(arrays)), [1] * len(arrays))


@pytest.mark.parametrize("intermediate", [False, True])
def test_reference(scouting: Any, intermediate: bool) -> None:
    """All integers and all float bits of 7787 muons of the CMS unpacker; BX 0 included."""
    found, bad = unpack_gmt(scouting.packets("gmt"), keep_intermediate=intermediate, first_bx=0)
    wanted = scouting.expected("gmt")
    if not intermediate:
        final = wanted["interm"] == 0
        wanted = {name: column[final] for name, column in wanted.items()}
    assert not bad
    scouting.same_places(found, wanted)
    columns = found.columns | {"hw_charge": charge(found.columns)}
    if intermediate:
        columns["interm"] = columns["intermediate"]
    integers = {n for n in wanted if not n.startswith("f_")} - {"orbit", "bx"}
    scouting.same_integers(columns, wanted, integers - (set() if intermediate else {"interm"}))
    names = ("pt", "eta", "phi", "pt_unconstrained", "eta_at_vtx", "phi_at_vtx")
    scouting.same_bits(physical("mu", columns), wanted, {name: name for name in names})


@given(
    st.integers(0, 2**32),
    st.lists(st.sets(st.integers(1, 3564), max_size=8).map(sorted), min_size=1, max_size=5),
    st.booleans(),
)
def test_equals_numpy(seed: int, crossings: list[list[int]], intermediate: bool) -> None:
    check_against_numpy(packets(seed, crossings), intermediate)


@given(st.integers(0, 2**32), st.lists(st.lists(st.integers(1, 3564), max_size=8), min_size=1))
def test_crossings_in_any_order_and_twice(seed: int, crossings: list[list[int]]) -> None:
    check_against_numpy(packets(seed, crossings), False)


def check_against_numpy(raw: Packets, intermediate: bool) -> None:
    found, bad = unpack_gmt(raw, keep_intermediate=intermediate)
    wanted = numpy_unpack(raw, intermediate)
    assert not bad
    np.testing.assert_array_equal(np.repeat(found.orbit, found.counts), wanted["orbit"])
    np.testing.assert_array_equal(np.repeat(found.bx, found.counts), wanted["bx"])
    assert np.all(np.diff(found.key) > 0)
    for name, column in found.columns.items():
        np.testing.assert_array_equal(
            column, wanted["interm" if name == "intermediate" else name], err_msg=name
        )


def test_many_batches_equal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = packets(5, [[1, 7, 3564], [2], [], [3, 4], [9]])
    whole, _ = unpack_gmt(raw)
    monkeypatch.setattr(raw_tables, "BATCH_WORDS", 40)
    parts, _ = unpack_gmt(raw)
    np.testing.assert_array_equal(whole.key, parts.key)
    for name, column in whole.columns.items():
        np.testing.assert_array_equal(column, parts.columns[name])


def test_a_bad_packet_does_not_touch_the_others() -> None:
    good = packets(6, [[1, 2, 3], [4, 5]])
    one, two = (good.words[a:b] for a, b in zip(good.starts, good.stops, strict=True))
    rng = np.random.default_rng(0)
    cut_header = np.concatenate([block(9, 1, rng), block(10, 1, rng)[:2]])
    cut_body = block(11, 5, rng)[:-1]
    zero, beyond = block(0, 2, rng), block(3565, 2, rng)
    raw = packets_of([one, cut_header, cut_body, zero, beyond, two], range(6), [1] * 6)
    found, bad = unpack_gmt(raw)
    assert [(b.packet, b.status, b.word, b.bx) for b in bad] == [
        (1, CUT_HEADER, 6, 0), (2, CUT_BODY, 0, 11), (3, BAD_BX, 0, 0), (4, BAD_BX, 0, 3565),
    ]  # fmt: skip
    alone, _ = unpack_gmt(packets_of([one, two], [0, 5], [1, 1]))
    np.testing.assert_array_equal(found.key, alone.key)
    for name, column in alone.columns.items():
        np.testing.assert_array_equal(found.columns[name], column)


def test_inconsistent_packets_are_refused() -> None:
    raw = packets(1, [[1]])
    with pytest.raises(BadInput, match="outside"):
        unpack_gmt(raw._replace(stops=raw.stops + 1))
    with pytest.raises(BadInput, match="orbits at once"):
        unpack_gmt(raw._replace(orbit=raw.orbit + MAX_ORBITS))


def test_interpreted_kernel_equals_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = packets(8, [[1, 2], [3, 3564]])
    compiled, _ = unpack_gmt(raw)
    monkeypatch.setattr(raw_tables, "_muon", cast(Any, raw_tables._muon).py_func)
    monkeypatch.setattr(raw_tables, "_muons", cast(Any, raw_tables._muons).py_func)
    plain, _ = unpack_gmt(raw)
    np.testing.assert_array_equal(plain.key, compiled.key)
    for name, column in compiled.columns.items():
        np.testing.assert_array_equal(plain.columns[name], column)


def test_station_eta_256_stays_positive() -> None:
    """The CMS unpacker compares with > 256, one code too far."""
    for raw, value in ((255, 255), (256, 256), (257, -255), (511, -1)):
        words = np.array([[1 << 10, 0, raw << 13]], np.uint32)
        assert GmtMuon.unpack(words)["hw_eta_first"] == value
