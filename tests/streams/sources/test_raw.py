"""Raw files: what is written comes back, merged and cut into blocks as promised."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scout40.streams.block import Table, concatenate, offsets_of
from scout40.streams.errors import BadInput
from scout40.streams.formats import frd
from scout40.streams.formats.bmtf import BmtfStub
from scout40.streams.sinks.raw import FrdWriter, Payload, payloads, write_frd
from scout40.streams.sources import raw, raw_file, raw_merge
from scout40.streams.sources.base import Run
from scout40.streams.sources.raw import RawSource, recognise

RUN, LUMI = 400_001, 17


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    tables=st.sampled_from(
        [
            ("mu",), ("mu", "jet", "eg", "tau", "sums"), ("stub",), ("tower", "mu"), ("sums",),
            ("mu", "jet", "eg", "tau", "sums", "stub", "tower"),
        ]
    ),
    rows=st.integers(0, 30),
    form=st.sampled_from(["dma", "tcp"]),
)  # fmt: skip
def test_round_trip(kit: Any, tmp_path: Path, seed: int, tables: Any, rows: int, form: Any) -> None:
    block = kit.random_block(seed, tables, rows=rows)
    if form == "tcp" or "sums" not in tables or {"jet", "eg", "tau"} <= set(tables):
        write_frd(tmp_path / "a.raw", [block], run=RUN, lumi=LUMI, calo_form=form)
        (found,), run = kit.read([tmp_path / "a.raw"])
        kit.same(found, block)
        assert run.ledger["packets"].out == run.ledger["packets"].received


def test_intermediate_muons_are_kept_on_request(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(3, ("mu",))
    muons = block.tables["mu"]
    flag = np.arange(len(muons)) % 2
    columns = {**muons.columns, "intermediate": flag.astype(np.uint8)}
    marked = block.replace(tables={"mu": Table(columns, muons.offsets)})
    write_frd(tmp_path / "a.raw", [marked], run=RUN, lumi=LUMI)
    source = RawSource([str(tmp_path / "a.raw")], keep_intermediate=True)
    kit.same(next(iter(source.blocks(Run()))), marked)
    (found,), _ = kit.read([tmp_path / "a.raw"])
    np.testing.assert_array_equal(found.tables["mu"]["hw_pt"], muons["hw_pt"][flag == 0])


@pytest.mark.parametrize("version", [5, 6])
@pytest.mark.parametrize("crc", [True, False])
def test_events_without_a_file_header(kit: Any, tmp_path: Path, version: int, crc: bool) -> None:
    block = kit.random_block(1)
    data = b"".join(kit.bare(block, crc, version))
    (tmp_path / "a.dat").write_bytes(data)
    assert recognise(data[:4096], "a.dat")
    kit.same(kit.read([tmp_path / "a.dat"])[0][0], block)


def test_file_header_version_1(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(1)
    events = kit.bare(block)
    size = 24 + sum(map(len, events))
    head = struct.pack("<4s4sHHIQ", b"RAW_", b"0001", 24, len(events), LUMI, size)
    (tmp_path / "a.raw").write_bytes(head + b"".join(events))
    kit.same(kit.read([tmp_path / "a.raw"])[0][0], block)


def test_recognise_only_raw() -> None:
    assert recognise(b"RAW_0002", "x.root")
    assert not recognise(b"", "a.raw")
    assert not recognise(b"ARROW1\0\0" + bytes(100), "a.raw")
    assert not recognise(struct.pack("<IIIIIII", 5, 1, 1, 1, 4, 0, 9), "a.raw")  # unknown source
    assert not recognise(struct.pack("<IIIIIII", 7, 1, 1, 1, 4, 0, 1), "a.raw")


def test_sources_in_several_files_are_merged_by_orbit(kit: Any, tmp_path: Path) -> None:
    """Primary, _1 and _2; given in any order; orbit 2 is missing in one of them."""
    block = kit.random_block(5, ("mu", "jet", "eg", "tau", "sums", "tower"), orbits=4, rows=40)
    paths = [tmp_path / name for name in ("a_2.raw", "a.raw", "a_1.raw")]
    for path, source in zip(paths, (frd.CALO_TOWER, frd.GMT, frd.CALO), strict=True):
        with FrdWriter(path, RUN, LUMI) as writer:
            for payload in payloads(block):
                if payload.source == source and (payload.orbit, source) != (101, frd.CALO):
                    writer.add(payload)
    (found,), run = kit.read(paths)
    assert run.ledger.facts == {"orbits": 4, "orbits without source 2": 1}
    whole = found.orbit != 101
    np.testing.assert_array_equal(found.orbit[whole], block.orbit[block.orbit != 101])
    for name in ("mu", "tower"):
        for column, values in block.tables[name].columns.items():
            np.testing.assert_array_equal(found.tables[name][column], values)
    assert set(found.orbit[found.tables["sums"].counts() > 0]) == {100, 102, 103}


def test_files_that_follow_each_other(kit: Any, tmp_path: Path) -> None:
    parts = [kit.random_block(k, first=100 + 3 * k) for k in range(4)]
    paths = [tmp_path / f"{k}.raw" for k in range(4)]
    for path, part in zip(paths, parts, strict=True):
        write_frd(path, [part], run=RUN, lumi=LUMI)
    (found,), _ = kit.read(paths[::-1])
    kit.same(found, concatenate(parts))
    assert RawSource([str(path) for path in paths]).total == 24


def test_blocks_have_the_size_asked_for(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(2, orbits=10, rows=100)
    write_frd(tmp_path / "a.raw", [block], run=RUN, lumi=LUMI)
    blocks, _ = kit.read([tmp_path / "a.raw"], Run(orbits_per_block=4))
    assert [(b.first_orbit, b.last_orbit) for b in blocks] == [(100, 104), (104, 108), (108, 110)]
    assert [b.origin.sequence for b in blocks] == [0, 1, 2]
    kit.same(concatenate(blocks), block)


def test_missing_orbits_and_a_new_run_end_a_block(kit: Any, tmp_path: Path) -> None:
    with FrdWriter(tmp_path / "a.raw") as writer:
        for run, orbit in ((1, 5), (1, 6), (1, 9), (2, 1), (2, 2)):
            writer.add(Payload(orbit, frd.GMT, np.zeros(0, np.uint32)), run=run)
    blocks, run_ = kit.read([tmp_path / "a.raw"])
    assert [(b.first_orbit, b.last_orbit) for b in blocks] == [(5, 7), (9, 10), (1, 3)]
    assert run_.ledger.facts["gaps in the orbit numbers"] == 2
    assert all(len(b.tables["mu"]) == 0 for b in blocks)


def test_lumi_may_change_inside_a_block(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(4, orbits=4, rows=30)
    with FrdWriter(tmp_path / "a.raw", RUN) as writer:
        for payload in payloads(block):
            writer.add(payload, lumi=payload.orbit // 102)
    (found,), _ = kit.read([tmp_path / "a.raw"])
    np.testing.assert_array_equal(found.crossing["lumi"], found.orbit // 102)


def test_both_calorimeter_forms_at_once(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(6)
    with FrdWriter(tmp_path / "a.raw", RUN, LUMI) as writer:
        for payload in sorted([*payloads(block), *payloads(block, "tcp")], key=lambda p: p.orbit):
            if payload.source != frd.GMT:
                writer.add(payload)
    (found,), run = kit.read([tmp_path / "a.raw"])
    assert run.ledger["packets"].dropped.total() == 12
    kit.same(found, block.replace(tables={n: t for n, t in block.tables.items() if n != "mu"}))


def test_a_block_ends_early_when_it_is_large(
    kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = kit.random_block(2, ("tower",), orbits=6, rows=200)
    write_frd(tmp_path / "a.raw", [block], run=RUN, lumi=LUMI)
    monkeypatch.setattr(raw, "MAX_STAGED", 8000)
    monkeypatch.setattr(raw_file, "WINDOW", 64)  # smaller than an event: it grows
    blocks, _ = kit.read([tmp_path / "a.raw"])
    assert len(blocks) > 1
    kit.same(concatenate(blocks), block)


def test_table_of_contents_may_be_cut_short(
    kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = kit.random_block(2, ("mu", "tower"), orbits=4)
    with FrdWriter(tmp_path / "a.raw", RUN, LUMI) as writer:
        for payload in payloads(block):
            if payload.source == frd.GMT or payload.orbit > 102:
                writer.add(payload)
    monkeypatch.setattr(raw_merge, "MAX_LISTED", 2)
    assert RawSource([str(tmp_path / "a.raw")]).total is None
    (found,), run = kit.read([tmp_path / "a.raw"])
    assert set(found.tables) == {"mu"}
    assert run.ledger["packets"].bad == {"unannounced source id": 1}


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_ledger_balances_when_the_reader_stops_early(kit: Any, tmp_path: Path, stop: int) -> None:
    block = kit.random_block(2, orbits=10, rows=100)
    write_frd(tmp_path / "a.raw", [block], run=RUN, lumi=LUMI)
    run = Run(orbits_per_block=3)
    blocks = RawSource([str(tmp_path / "a.raw")]).blocks(run)
    for _ in range(stop):
        next(blocks)
    blocks.close()  # type: ignore[attr-defined]
    run.ledger.check()
    account = run.ledger["packets"]
    assert account.out == stop * 6
    assert account.pending == (1 if stop else 0)  # the event that ended the block


def test_writer_refuses_what_the_format_has_no_room_for(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(1, ("jet",), rows=1)
    counts = np.array([13], np.int32)
    table = Table({"hw_et": np.ones(13, np.uint16)}, offsets_of(counts))
    with pytest.raises(BadInput, match=r"13 objects in one crossing.*room for 12"):
        list(payloads(block.take(0, 1).replace(tables={"jet": table})))
    with pytest.raises(BadInput, match="not contiguous"):
        list(payloads(block.replace(contiguous=False)))


def test_writer_leaves_nothing_half_done(kit: Any, tmp_path: Path) -> None:
    block = kit.random_block(1)
    with FrdWriter(tmp_path / "b.raw") as writer:
        writer.write(block)
        assert not (tmp_path / "b.raw").exists()
    (tmp_path / "b.raw").unlink()
    writer = FrdWriter(tmp_path / "a.raw")
    with pytest.raises(BadInput), writer:
        writer.write(block.replace(contiguous=False))
    assert list(tmp_path.iterdir()) == []


def test_stub_words_carry_their_crossing(kit: Any) -> None:
    block = kit.random_block(1, ("stub",), orbits=1, rows=3)
    found = []
    for payload in payloads(block):
        words, at = payload.words, 0
        while at < len(words):
            count = int(words[at]) & 0xFF
            stubs = BmtfStub.unpack(words[at + 3 : at + 3 + 2 * count].copy().view("<u8"))
            found += [(int(words[at + 1]), int(bx)) for bx in stubs["stub_bx"]]
            at += 3 + 2 * count
    assert found
    assert all(of_block == of_stub for of_block, of_stub in found)
