"""The synthetic stream: the same on any thread, as drawn by plain Python, as a fill fills."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from scout40.streams.block import Block
from scout40.streams.errors import BadConfig
from scout40.streams.formats.gmt import GmtMuon
from scout40.streams.sinks.raw import event_bytes, file_header_bytes, payloads
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource
from scout40.streams.sources.synthetic import LUMI_ORBITS, MAX_ORBIT, Synthetic
from scout40.streams.sources.synthetic_pool import PROCESSES, decay, pool
from tests.streams.sources.slow_synthetic import Twin

BOTH: dict[str, Any] = {"sources": ("gmt", "calo"), "enrich": 3000.0}
BORDER = 5 * LUMI_ORBITS - 2


def block_of(stream: Synthetic, orbits: int) -> Block:
    """The first block of a stream."""
    return next(stream.blocks(Run(orbits_per_block=orbits)))


@pytest.mark.parametrize("form", ["dma", "tcp"])
@pytest.mark.parametrize("orbit", [0, 7, 3 * LUMI_ORBITS + 12345, MAX_ORBIT])
def test_equals_the_slow_twin(form: Literal["dma", "tcp"], orbit: int) -> None:
    stream = Synthetic(seed=99, run=400_001, pileup=72.0, calo_form=form, **BOTH)
    data, packets = stream.payload(orbit, 1)
    assert packets == (2 if form == "dma" else 5)
    assert data.tobytes() == Twin(stream).events(orbit)


def test_crowded_crossings_equal_the_slow_twin() -> None:
    stream = Synthetic(pileup=300.0, enrich=500.0, filling="2460b", spread=0.3)
    data, _ = stream.payload(40, 3)
    twin = Twin(stream)
    assert data.tobytes() == b"".join(twin.events(orbit) for orbit in range(40, 43))
    muons = [len(twin.rows(40, bx)) for bx in np.flatnonzero(twin.factors).tolist()]
    assert max(muons) >= 5  # so that sorting was tried


def test_at_most_eight_muons_are_sent() -> None:
    stream = Synthetic(enrich=20.0)
    stream.pileup = 3000.0  # more than is accepted: six muons a crossing
    data, _ = stream.payload(8, 1)
    twin = Twin(stream)
    assert data.tobytes() == twin.events(8)
    muons = [len(twin.rows(8, bx)) for bx in np.flatnonzero(twin.factors).tolist()]
    assert muons.count(8) > 300


def test_room_grows_when_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Synthetic(**BOTH).payload(3, 2)[0].tobytes()
    monkeypatch.setattr(Synthetic, "_room", lambda *_: 100)
    assert Synthetic(**BOTH).payload(3, 2)[0].tobytes() == expected


def test_every_order_and_thread_gives_the_same_bytes() -> None:
    stream = Synthetic(**BOTH)
    whole, packets = stream.payload(BORDER - 20, 32)
    assert packets == 64
    orbits = range(BORDER - 20, BORDER + 12)
    again = Synthetic(**BOTH)
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(again.payload, orbit, 1) for orbit in reversed(orbits)]
        parts = [job.result() for job in reversed(jobs)]
    assert b"".join(data.tobytes() for data, _ in parts) == whole.tobytes()
    assert stream.payload(BORDER - 20, 32)[0].tobytes() == whole.tobytes()


@pytest.mark.parametrize("change", [{"seed": 2}, {"pileup": 61.0}, {"filling": "2460b"}])
def test_configuration_matters(change: dict[str, Any]) -> None:
    default = Synthetic().payload(5, 4)[0].tobytes()
    assert Synthetic(**change).payload(5, 4)[0].tobytes() != default


def test_neighbouring_seeds_and_orbits_share_nothing() -> None:
    """Muons of the same crossing in two streams agree as often as by chance: about 12 %."""
    bxs = [set((block_of(Synthetic(seed=s, first=f), 1)).bx.tolist()) for s, f in
           ((1, 0), (2, 0), (1, 1), (2, 1), (0, 1))]  # fmt: skip
    for other in bxs[1:]:
        assert len(bxs[0] & other) < 0.25 * len(bxs[0])


def test_numbers_of_muons() -> None:
    """Mean and spread of the candidates of an orbit, and how many crossings have k of them."""
    stream = Synthetic(last=2000, enrich=0.0)
    block = block_of(stream, 2000)
    expected = 2340 * 60 * 2.2e-3 * 0.93
    assert expected == pytest.approx(287.3, abs=0.1)
    of_orbit = np.bincount(block.orbit, block.tables["mu"].counts(), minlength=2000)
    ghosts = pool().muons.ghosts / pool().muons.drawn
    error = np.sqrt(expected * (1 + 3 * ghosts) / 2000)
    assert of_orbit.mean() == pytest.approx(expected * (1 + ghosts), abs=5 * error)
    assert of_orbit.var() == pytest.approx(expected * (1 + 3 * ghosts), rel=5 * np.sqrt(2 / 2000))
    filled = len(block)  # crossings with muons
    mean = stream.bunches(0).mean * 2.2e-3 * 0.93
    wanted = 2000 * (1 - np.exp(-mean)).sum()
    assert filled == pytest.approx(wanted, abs=5 * np.sqrt(wanted))
    # Ghosts turn a block of one into one of two.
    single = 2000 * (mean * np.exp(-mean)).sum() * (1 - ghosts)
    found = int((block.tables["mu"].counts() == 1).sum())
    assert found == pytest.approx(single, abs=5 * np.sqrt(single))


@pytest.mark.parametrize("name", ["2352b", "2460b"])
def test_occupancy_follows_the_filling_scheme(name: str) -> None:
    stream = Synthetic(filling=name, last=6000)
    counts = np.zeros(3565, np.int64)
    for block in stream.blocks(Run(orbits_per_block=1000)):
        counts += np.bincount(block.bx, minlength=3565)
    bunches = stream.bunches(0)
    assert not counts[1:][bunches.mean == 0].any()
    wanted = 6000 * (1 - np.exp(-bunches.mean * 2.2e-3 * 0.93))[bunches.colliding]
    found = counts[bunches.colliding + 1]

    def chi2(expected: Any) -> float:
        """(chi2 - ndf) in standard deviations; the counts are binomial."""
        variance = expected * (1 - expected / 6000)
        value = float(((found - expected) ** 2 / variance).sum())
        return (value - len(found)) / float(np.sqrt(2 * len(found)))

    assert abs(chi2(wanted)) < 4
    assert chi2(np.full(len(found), wanted.mean())) > 20  # the spread of the bunches is seen


def test_spread_and_decay_of_the_pile_up() -> None:
    stream = Synthetic(spread=0.08, lifetime=2.0)
    start = stream.bunches(0).mean
    used = start[start > 0]
    assert used.mean() == pytest.approx(60, rel=1e-12)
    assert used.std() / 60 == pytest.approx(0.08, rel=0.05)
    assert np.ptp(used) <= 6.2 * 0.08 * 60
    hour = stream.bunches(154).mean  # 154 * 23.3 s
    assert hour.sum() / start.sum() == pytest.approx(decay(154 * 23.311 / 3600, 2.0), rel=1e-4)
    assert hour.sum() / start.sum() == pytest.approx(0.607, abs=0.001)
    flat = Synthetic(spread=0.0, lifetime=float("inf")).bunches(9999).mean
    assert set(flat.tolist()) == {0.0, 60.0}


@pytest.mark.parametrize("form", ["dma", "tcp"])
def test_packets_are_those_of_raw_files(tmp_path: Path, form: Literal["dma", "tcp"]) -> None:
    """Reading gives the blocks of the source; packing them gives the packets."""
    stream = Synthetic(
        first=BORDER, last=BORDER + 5, calo_form=form, run=400_002, **BOTH
    )  # fmt: skip
    data, packets = stream.payload(BORDER, 5)
    body = data.tobytes()
    place = tmp_path / "made.raw"
    place.write_bytes(file_header_bytes(packets, 400_002, 5, 32 + len(body)) + body)
    read_run, made_run = Run(), Run()
    (read,) = RawSource([str(place)]).blocks(read_run)
    (made,) = stream.blocks(made_run)
    for run in (read_run, made_run):
        run.ledger.check()
        account = run.ledger["packets"]
        assert (account.received, account.out, account.pending) == (packets, packets, 0)
        assert run.ledger.facts["orbits"] == 5
    assert stream.total == packets
    assert read.replace(origin=made.origin, tables={}, crossing={}, orbit=made.orbit, bx=made.bx) \
        == made.replace(tables={}, crossing={})  # fmt: skip
    np.testing.assert_array_equal(read.time(), made.time())
    assert set(read.tables) == set(made.tables) == {"mu", "jet", "eg", "tau", "sums"}
    for name, table in read.tables.items():
        for column in table.columns:
            np.testing.assert_array_equal(table[column], made.tables[name][column])
    lumi = made.crossing["lumi"]
    assert set(lumi.tolist()) == {5, 6}
    np.testing.assert_array_equal(lumi, 1 + made.orbit // LUMI_ORBITS)
    again = [event_bytes(p, 400_002, 1 + p.orbit // LUMI_ORBITS) for p in payloads(made, form)]
    assert b"".join(again) == body


def test_event_headers() -> None:
    stream = Synthetic(run=77)
    data = stream.payload(LUMI_ORBITS - 1, 2)[0].tobytes()
    first = struct.unpack_from("<HHIIIII", data, 0)
    assert first[:5] == (6, 0, 77, 1, LUMI_ORBITS - 1)
    assert struct.unpack_from("<I", data, 24) == (1,)
    second = struct.unpack_from("<HHIIIII", data, 24 + first[5])
    assert second[:5] == (6, 0, 77, 2, LUMI_ORBITS)
    assert 24 + first[5] + 24 + second[5] == len(data)


def test_calorimeter_fills_every_colliding_crossing_and_grows_with_pile_up() -> None:
    objects = {}
    for pileup in (30.0, 60.0):
        block = block_of(Synthetic(sources=("calo",), pileup=pileup, last=4), 4)
        assert block.tables["sums"].counts().tolist() == [1] * (4 * 2340)
        objects[pileup] = {name: len(table) / (4 * 2340) for name, table in block.tables.items()}
    assert objects[60.0]["jet"] == pytest.approx(4.8, rel=0.1)
    assert objects[60.0]["eg"] == pytest.approx(6.0, rel=0.1)
    assert objects[30.0]["jet"] == pytest.approx(2.4, rel=0.1)


def test_rare_processes_come_at_their_rate_times_enrich() -> None:
    factor = 20.0
    rare, natural = Synthetic(enrich=factor).added(0, 4000), Synthetic().added(0, 40_000)
    sections = pool().cross_sections
    wanted = 60 * 2340 * 4000 * factor * sections / 80e6
    found = np.bincount(rare.process, minlength=len(PROCESSES))
    assert np.all(np.abs(found - wanted) < 5 * np.sqrt(wanted))
    assert found[0] > 5000
    assert np.all(rare.weight == 1 / factor)
    assert rare.weight.sum() / 4000 == pytest.approx(natural.weight.sum() / 40_000, rel=0.08)
    assert np.all(np.diff(rare.orbit.astype(np.int64) * 3564 + rare.bx) > 0)
    assert not len(Synthetic(enrich=0.0).added(0, 1000).orbit)


def test_what_was_added_is_in_the_packets() -> None:
    stream = Synthetic(first=BORDER, last=BORDER + 60, **BOTH)
    block = block_of(stream, 60)
    added = stream.added(BORDER, 60)
    parts = [stream.added(orbit, 1) for orbit in range(BORDER, BORDER + 60)]
    for name, column in added._asdict().items():
        np.testing.assert_array_equal(column, np.concatenate([getattr(p, name) for p in parts]))
    muons, mu = pool().muons, block.tables["mu"]
    seen = set(added.process.tolist())
    assert seen == {0, 1, 2}
    rows = np.searchsorted(block.time(), added.orbit.astype(np.int64) * 3564 + added.bx - 1)
    for row, process, entry in zip(rows, added.process, added.entry, strict=True):
        first = muons.starts[process] + 2 * int(entry)
        own = GmtMuon.unpack(muons.rows[first : first + 2])
        here = range(mu.offsets[row], mu.offsets[row + 1])
        sent = {(mu["hw_pt"][i], mu["hw_phi"][i], mu["tf_muon_index"][i]) for i in here}
        pair = zip(own["hw_pt"], own["hw_phi"], own["tf_muon_index"], strict=True)
        assert {muon for muon in pair if muon[0]} <= sent
    jets = block.tables["jet"]
    hard = [int((jets["hw_et"][jets.offsets[r] : jets.offsets[r + 1]] > 60).sum()) for r in rows]
    top = added.process == PROCESSES.index("ttbar")
    assert np.array(hard)[top].mean() > 3
    assert np.array(hard)[~top].mean() < 0.5


def test_text_form() -> None:
    text = "synthetic:gmt,calo?filling=2460b&pileup=50.5&seed=3&enrich=10&calo_form=tcp&run=9"
    stream = Synthetic.from_text(text)
    assert (stream.filling, stream.pileup, stream.seed, stream.run) == ("2460b", 50.5, 3, 9)
    assert (stream.sources, stream.enrich, stream.calo_form) == (("gmt", "calo"), 10.0, "tcp")
    assert stream.source_ids == [1, 22, 23, 24, 25]
    assert "2460b" in stream.name
    default = Synthetic.from_text("synthetic:")
    assert default.payload(3, 1)[0].tobytes() == Synthetic().payload(3, 1)[0].tobytes()
    assert Synthetic.from_text("synthetic:calo").source_ids == [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("made:gmt", "does not begin with synthetic:"),
        ("synthetic:bmtf", "no source 'bmtf'"),
        ("synthetic:gmt,gmt", "sources"),
        ("synthetic:gmt?pile_up=3", "key 'pile_up' is unknown; known are filling, pileup"),
        ("synthetic:gmt?name=x", "'name' is unknown"),
        ("synthetic:gmt?seed=1&seed=2", "'seed' is given twice"),
        ("synthetic:gmt?seed=one", "seed has 'one', expected a number"),
        ("synthetic:gmt?seed", "expected key=value"),
        ("synthetic:gmt?seed=-1", "seed has -1"),
        ("synthetic:gmt?pileup=nan", "pileup has nan"),
        ("synthetic:gmt?pileup=0", r"pileup has 0\.0"),
        ("synthetic:gmt?lifetime=0", "lifetime"),
        ("synthetic:gmt?spread=0.5", "spread"),
        ("synthetic:gmt?calo_form=udp", "calo_form has 'udp'"),
        ("synthetic:gmt?filling=12b", "no filling scheme '12b'"),
        ("synthetic:gmt?enrich=1e6", "enrich has 1000000.0, at most"),
        ("synthetic:gmt?first=5&last=5", "last has 5"),
    ],
)
def test_bad_text(text: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        Synthetic.from_text(text)


@pytest.mark.parametrize(("first", "orbits"), [(-1, 1), (0, 0), (MAX_ORBIT, 2)])
def test_bad_orbits(first: int, orbits: int) -> None:
    with pytest.raises(BadConfig, match="orbits from"):
        Synthetic().payload(first, orbits)
