"""Phase-2 packets: the public sample files, made-up streams, damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scout40.streams.block import Block
from scout40.streams.errors import BadInput
from scout40.streams.formats.phase2 import (
    EventHeader,
    OrbitHeader,
    PuppiCharged,
    PuppiNeutral,
    TrackerMuon,
)
from scout40.streams.layout import Word
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.phase2 import Phase2Source, puppi_columns, recognise
from tests.dth import framed

MUONS = "testvectors/phase2/TkMuons_TM18.dump"
DTH = "testvectors/phase2/tcp_gen4_dth256.data"


def event(orbit: int, bx: int, words: list[int], kind: int = 2, error: int = 0) -> bytes:
    header = kind << 62 | error << 61 | 3 << 56 * (kind > 0) | orbit << 24 | bx << 12 | len(words)
    return struct.pack(f"<{1 + len(words)}Q", header & (2**64 - 1), *words)


def simple(orbit: int, bx: int, words: list[int]) -> bytes:
    """Header without run number, as in the first muon tests when kind is 0."""
    return struct.pack(f"<{1 + len(words)}Q", orbit << 24 | bx << 12 | len(words), *words)


def read(path: Path, data: bytes, run: Run | None = None) -> tuple[list[Block], Run]:
    path.write_bytes(data)
    assert recognise(data[:4096], str(path))
    run = run or Run()
    blocks = [block.check() for block in Phase2Source([str(path)]).blocks(run)]
    assert run.ledger.balanced
    assert run.ledger["packets"].out == sum(len(block) for block in blocks)
    return blocks, run


# -- the public samples --------------------------------------------------------------------------


def test_every_event_of_the_muon_sample(reference: Path) -> None:
    """Against a walk over the file in plain Python."""
    path = reference / MUONS
    data = path.read_bytes()
    run = Run()
    source = Phase2Source([str(path)])
    assert "tkmu" in source.name
    blocks = [block.check() for block in source.blocks(run)]
    assert (run.ledger["packets"].out, run.ledger["packets"].bad.total()) == (19800, 0)
    assert [(b.first_orbit, b.last_orbit) for b in blocks] == [(0, 64), (64, 100)]

    words = struct.unpack(f"<{len(data) // 8}Q", data)
    at, rows, low, high = 0, [], [], []
    while at < len(words):
        count = words[at] & 0xFF
        rows.append(((words[at] >> 24) & 0xFFFFFFFF, ((words[at] >> 12) & 0xFFF) + 1))
        halves = [h for w in words[at + 1 : at + 1 + count] for h in (w & 0xFFFFFFFF, w >> 32)]
        for k in range(2 * count // 3):
            a, b, c = halves[3 * k : 3 * k + 3]
            low.append(b | c << 32 if k % 2 else a | b << 32)
            high.append(a if k % 2 else c)
        at += 1 + count
    assert [(int(o), int(b)) for part in blocks for o, b in zip(part.orbit, part.bx)] == rows  # noqa: B905
    muons = {n: np.concatenate([b.tables["tkmu"][n] for b in blocks]) for n in TrackerMuon.fields}
    packed = TrackerMuon.pack(muons)
    assert packed[:, 0].tolist() == low
    assert packed[:, 1].tolist() == high


def test_muon_fields_of_the_sample_are_where_they_should_be(reference: Path) -> None:
    """Valid bits all set, |eta| below the acceptance 2.5, phi and charge evenly spread."""
    blocks = Phase2Source([str(reference / MUONS)]).blocks(Run())
    parts = [b.tables["tkmu"].columns for b in blocks]
    muons = {name: np.concatenate([part[name] for part in parts]) for name in TrackerMuon.fields}
    value = TrackerMuon.physical(muons)
    assert muons["valid"].all()
    assert 2.4 < np.abs(value["eta"]).max() < 2.5
    assert abs(value["eta"].mean()) < 0.1
    octants = np.histogram(value["phi"], 8, (-np.pi, np.pi))[0]
    assert octants.sum() == len(muons["valid"])
    assert octants.max() / octants.min() < 1.2
    assert abs(muons["hw_charge"].mean() - 0.5) < 0.02
    assert value["pt"].min() == 2.0  # 64 * 31.25 MeV, the threshold of track finding
    assert np.abs(value["z0"]).max() < 15


def test_transport_sample_against_its_counters(reference: Path) -> None:
    """Candidates there are counters: 0xabc0 << 32 | count << 24 | bx << 12 | number from 1."""
    run = Run()
    source = Phase2Source([str(reference / DTH)])
    (block,) = source.blocks(run)
    account = run.ledger["packets"]
    assert (len(block.check()), account.out, account.received) == (14 * 575, 8050, 8052)
    # The file is a capture cut at 1 MiB: the last block, and with it the last orbit, is not whole.
    assert dict(account.bad) == {"file ends inside a block": 1, "orbit without its last block": 1}
    assert block.first_orbit == 0x3CDFEE
    assert np.unique(block.orbit).tolist() == list(range(0x3CDFEE, 0x3CDFEE + 14))
    assert block.bx[:575].tolist() == list(range(1, 3446, 6))
    words = _counters(block)
    assert PuppiCharged.pack(block.tables["puppi"].columns)[:, 0].tolist() == words


def _counters(block: Block) -> list[int]:
    counts = block.tables["puppi"].counts().tolist()
    return [
        0xABC << 36 | count << 24 | (bx - 1) << 12 | number
        for bx, count in zip(block.bx.tolist(), counts, strict=True)
        for number in range(1, count + 1)
    ]


# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", [EventHeader, OrbitHeader, PuppiCharged, PuppiNeutral, TrackerMuon]
)
@given(data=st.data())
def test_pack_and_unpack_are_inverse(word: type[Word], data: st.DataObject) -> None:
    values = data.draw(word.strategy())
    columns = {n: np.array([v], word.fields[n].dtype) for n, v in values.items()}
    back = word.unpack(word.pack(columns))
    assert {name: int(column[0]) for name, column in back.items()} == values


def test_charged_and_neutral_candidates_share_columns() -> None:
    eta = -100 & 0xFFF
    charged = 40 | eta << 14 | 3 << 37 | (-5 & 0x3FF) << 40 | (-7 & 0xFF) << 50 | 6 << 58
    neutral = 40 | eta << 14 | 1 << 37 | 256 << 40 | 33 << 50
    columns = puppi_columns(np.array([charged, neutral], np.uint64))
    assert {name: column.tolist() for name, column in columns.items()} == {
        "hw_pt": [40, 40],
        "hw_eta": [-100, -100],
        "hw_phi": [0, 0],
        "hw_pid": [3, 1],
        "hw_z0": [-5, 0],
        "hw_dxy": [-7, 0],
        "hw_quality": [6, 0],
        "hw_weight": [0, 256],
        "hw_id": [0, 33],
    }
    assert PuppiCharged.physical(columns)["pt"].tolist() == [10.0, 10.0]
    assert PuppiNeutral.physical(columns)["weight"].tolist() == [0.0, 1.0]


# -- made-up streams -----------------------------------------------------------------------------


def stream(orbits: range, wrap: Callable[[bytes], bytes] = bytes) -> bytes:
    """Orbits of 20 crossings with 0..19 even candidate words."""
    return b"".join(
        wrap(b"".join(event(o, 6 * i, [2 * w for w in range(i)]) for i in range(20)))
        for o in orbits
    )


@pytest.mark.parametrize("wrap", [bytes, framed])
def test_blocks_follow_orbits(tmp_path: Path, wrap: Callable[[bytes], bytes]) -> None:
    blocks, run = read(tmp_path / "x", stream(range(5, 12), wrap), Run(orbits_per_block=4))
    assert [(b.first_orbit, b.last_orbit, len(b)) for b in blocks] == [
        (5, 8, 60), (8, 12, 80),
    ]  # fmt: skip
    assert blocks[0].tables["puppi"].counts()[:20].tolist() == list(range(20))
    assert blocks[0].tables["puppi"]["hw_pt"][:6].tolist() == [0, 0, 2, 0, 2, 4]
    assert blocks[0].bx[:3].tolist() == [1, 7, 13]
    assert blocks[0].crossing["run"].tolist() == [3] * 60
    assert run.ledger["packets"].bad.total() == 0


def test_rows_per_block_bounds_the_blocks(tmp_path: Path) -> None:
    blocks, _ = read(tmp_path / "x", stream(range(1)), Run(rows_per_block=8))
    assert [len(block) for block in blocks] == [8, 8, 4]
    assert np.concatenate([b.bx for b in blocks]).tolist() == list(range(1, 121, 6))


def test_windows_cut_no_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = read(tmp_path / "x", stream(range(8)))
    monkeypatch.setattr("scout40.streams.sources.phase2_packets.WINDOW", 304)
    parts, run = read(tmp_path / "x", stream(range(8)))
    assert run.ledger["packets"].bad.total() == 0
    assert parts[0].tables["puppi"]["hw_pt"].tolist() == whole[0].tables["puppi"]["hw_pt"].tolist()


def test_muons_are_told_from_puppi_by_their_words(tmp_path: Path) -> None:
    first, second = (1 | 100 << 1) | 7 << 17, 1 | 200 << 1
    pair = [first, 5 | (9 << 32), second]  # low 0, high 0 and high 1, low 1
    data = simple(0, 0, pair) + simple(0, 18, []) + simple(0, 36, [first, 2])
    (block,), _ = read(tmp_path / "x", data)
    muons = block.tables["tkmu"]
    assert muons.offsets.tolist() == [0, 2, 2, 3]
    assert muons["hw_pt"].tolist() == [100, 200, 100]
    assert muons["hw_charge"].tolist() == [1, 1, 0]
    assert muons["hw_quality"].tolist() == [2, 4, 1]
    assert block.bx.tolist() == [1, 19, 37]
    even = data.replace(struct.pack("<Q", second), struct.pack("<Q", second - 1))
    (puppi,), _ = read(tmp_path / "y", even)
    assert "puppi" in puppi.tables


# -- damage --------------------------------------------------------------------------------------


def test_damage_is_quarantined_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = [event(7, 6 * i, [2, 4]) for i in range(12)]
    parts = dict(enumerate(good))
    parts[3] = struct.pack("<Q", 1 << 62 | 5) + good[3][8:]  # no header
    parts[5] = event(7, 3564, [2])  # bx beyond the orbit
    parts[6] = event(6, 0, [2])  # orbit goes back
    parts[8] = event(7, 48, [2], error=1)
    parts[9] = event(7, 54, [], error=1)  # truncated at origin
    parts[10] = bytes(16) + good[10]  # zero words between events are allowed
    data = b"".join(parts[i] for i in range(12)) + event(7, 100, [2] * 9)[:24]
    run = Run(quarantine=Quarantine(tmp_path / "bad"))
    (block,), _ = read(tmp_path / "x", data, run)
    assert block.bx.tolist() == [1, 7, 13, 25, 43, 61, 67]
    account = run.ledger["packets"]
    assert dict(account.bad) == {
        "no event header": 2,
        "crossing not later than the one before": 1,
        "error bit set": 1,
        "ends inside an event": 1,
    }
    assert dict(account.dropped) == {"crossing truncated at origin": 1}
    backwards = next(text for text in run.quarantine.reasons if "not later" in text)
    assert "orbit 6, bx 1" in backwards
    assert f"offset {sum(len(parts[i]) for i in range(6))}" in backwards
    assert (tmp_path / "bad" / "000001.bin").read_bytes() == parts[3]


def test_a_damaged_orbit_does_not_harm_its_neighbours(tmp_path: Path) -> None:
    orbits = [framed(b"".join(event(o, bx, [2] * 30) for bx in range(0, 400, 6))) for o in range(4)]
    broken = bytearray(orbits[1])
    assert len(broken) > 2 * 8192  # three blocks
    broken[8192] ^= 0xFF  # magic of the second block
    last = orbits[2][:8192]  # its second block is lost
    (block,), run = read(tmp_path / "x", orbits[0] + bytes(broken) + last + orbits[3])
    assert np.unique(block.orbit).tolist() == [0, 3]
    assert dict(run.ledger["packets"].bad) == {
        "no block header": 1,  # the second block of orbit 1; the third does not follow the first
        "orbit with a block missing": 1,
        "block out of order": 1,
        "orbit without its last block": 1,  # orbit 2
    }


def test_truncated_orbit_header_is_dropped_data(tmp_path: Path) -> None:
    cut = struct.pack("<Q", 3 << 62 | 1 << 61 | 8 << 24)
    data = stream(range(7, 8), framed) + framed(cut) + stream(range(9, 10), framed)
    (block,), run = read(tmp_path / "x", data)
    assert np.unique(block.orbit).tolist() == [7, 9]
    assert dict(run.ledger["packets"].dropped) == {"orbit truncated at origin": 1}


def test_unmarked_headers_cannot_be_found_again(tmp_path: Path) -> None:
    good = [simple(0, bx, [2]) for bx in (0, 18, 36, 54)]
    (block,), run = read(tmp_path / "x", b"".join(good[:3]) + b"\xff" * 8 + good[3])
    assert len(block) == 3
    (reason,) = run.ledger["packets"].bad
    assert "without marks" in reason


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(4096),
        b"PAR1" * 100,
        b"RAW_0002" * 100,
        b"GZ" + bytes(30),
        struct.pack("<2Q", 1, 2),
        event(5, 4000, []) * 2,
    ],
)
def test_other_content_is_refused(tmp_path: Path, data: bytes) -> None:
    assert not recognise(data[:4096], "x")
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(BadInput, match="x"):
        Phase2Source([str(path)])


def test_the_older_transport_is_named(tmp_path: Path) -> None:
    data = bytearray(framed(event(1, 0, [2] * 9)))
    data[31] = 0x55
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(BadInput, match="DTHBasicOA"):
        Phase2Source([str(tmp_path / "x")])
