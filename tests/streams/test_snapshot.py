"""Snapshots: what is written is read back, and nothing else is read."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import threading
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scout40.streams import snapshot as module
from scout40.streams.errors import BadInput
from scout40.streams.json_record import MAX_ENTRIES, MAX_TEXT, OneOf, Within
from scout40.streams.ledger import Ledger
from scout40.streams.snapshot import (
    MAX_BYTES,
    BoardState,
    ErrorState,
    HistogramState,
    LatencyState,
    QueueState,
    RateState,
    Snapshot,
    SourceState,
    accounts_of,
    from_json,
    write_status,
)

FULL = Snapshot(
    name="gmt", pid=12, host="daq", time_ns=1_760_000_000_000_000_000, sequence=5, state="running",
    accounts={"packets": {"in": 10, "out": 7, "dropped": {"policy": 2}, "bad": {"crc mismatch": 1},
                          "pending": 0}},
    sources=(SourceState("feed-1", "tcp://127.0.0.1:4040", "00ff", 1, "running", 0.1, 99),),
    rates=(RateState("L1_SingleMu22", 3, 12.5, 12.5),),
    histograms={"mu_pt": HistogramState((0.0, 1.0, 2.5), (4, 5), "GeV")},
    latency={"total": LatencyState(1.0, 2.0, 3.0, 4.0, 5.0, 6)},
    stages={"unpack": 1.5}, queues={"unpack": QueueState(1, 8, "block", 0)},
    boards=(BoardState("cpu", "ok"),), errors=(ErrorState(7, "crc mismatch"),),
)  # fmt: skip


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values that a declared type allows."""
    rule = None
    if typing.get_origin(kind) is Annotated:
        kind, rule = typing.get_args(kind)
    if kind is int and isinstance(rule, Within):
        return st.integers(int(rule.low), int(rule.high))
    if kind is float and isinstance(rule, Within):
        return st.floats(rule.low, rule.high)
    if kind is str:
        return st.sampled_from(rule.words) if isinstance(rule, OneOf) else texts
    if kind is bool:
        return st.booleans()
    inner = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return st.lists(values_of(inner[0]), max_size=3).map(tuple)
    if inner:
        return st.dictionaries(texts, values_of(inner[1]), max_size=3)
    if kind is HistogramState:
        return histograms
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = st.fixed_dictionaries({name: values_of(hint) for name, hint in hints.items()})
    return fields.map(lambda found: kind(**found))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
histograms = st.lists(st.integers(0, 2**64 - 1), max_size=5).map(
    lambda counts: HistogramState(tuple(map(float, range(len(counts) + 1))), tuple(counts), "GeV")
)


@given(values_of(Snapshot))
@example(FULL)
@example(Snapshot())
def test_what_is_written_is_read_back(made: Snapshot) -> None:
    assert from_json(made.to_json()) == made


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(FULL.to_json())
    change(value)
    return json.dumps(value).encode()


def set_to(name: str, new: object) -> Callable[[dict[str, Any]], object]:
    """Put ``new`` at a dotted place."""

    def change(value: Any) -> None:
        *path, last = (int(part) if part.isdigit() else part for part in name.split("."))
        for part in path:
            value = value[part]
        value[last] = new

    return change


BAD = [
    ("version", 2, "field version: 2 instead of 1"),
    ("version", "1", "field version: not an integer"),
    ("version", True, "field version: not an integer"),
    ("surprise", 1, "unknown field 'surprise'"),
    ("sources.0.surprise", 1, r"field sources\[0\]: unknown field 'surprise'"),
    ("accounts.packets.surprise", 1, "field accounts.'packets': unknown field 'surprise'"),
    ("state", "fine", "field state: 'fine' is none of starting, running"),
    ("sources.0.state", "fine", r"field sources\[0\].state: 'fine' is none of connecting"),
    ("sources.0.lost", -1, r"field sources\[0\].lost: -1 instead of a number from 0"),
    ("sources.0.lost", 1.0, r"field sources\[0\].lost: not an integer"),
    ("sources.0.lost", 2**64, r"field sources\[0\].lost: 1844"),
    ("sources.0.lag_s", 10**400, r"field sources\[0\].lag_s: 1000"),
    ("sources.0.lag_s", "1", r"field sources\[0\].lag_s: not a number"),
    ("sources.0.lag_s", None, r"field sources\[0\].lag_s: not a number"),
    ("balanced", 1, "field balanced: 1 instead of true or false"),
    ("name", 1, "field name: 1 instead of a text"),
    ("name", "x" * (MAX_TEXT + 1), "field name: a text of 301 characters, at most 300"),
    ("sources", {}, "field sources: dict instead of a list"),
    ("rates", [{}] * (MAX_ENTRIES + 1), "field rates: a list of 4097 entries, at most 4096"),
    ("errors", [{}] * 21, "field errors: a list of 21 entries, at most 20"),
    ("stages", [], "field stages: list instead of an object"),
    ("stages.unpack", True, "field stages.'unpack': not a number"),
    ("rates.0", 3, r"field rates\[0\]: 3 instead of an object"),
    ("accounts.packets.dropped.policy", -1, "field accounts.'packets'.dropped.'policy': -1"),
    ("histograms.mu_pt.counts", [4], "field histograms.mu_pt: 3 edges of 1 bins"),
    ("histograms.mu_pt.counts", [4, "5"], "field histograms.'mu_pt'.counts: not an integer"),
    ("histograms.mu_pt.edges", [0, 1, 1], "field histograms.mu_pt: edges do not rise"),
]


@pytest.mark.parametrize(("name", "new", "message"), BAD)
def test_what_breaks_a_rule_is_named(name: str, new: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_json(changed(set_to(name, new)))


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Snapshot)])
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"field {name}: is missing"):
        from_json(changed(lambda value: value.pop(name)))


def test_another_version_is_refused_before_its_fields() -> None:
    with pytest.raises(BadInput, match=r"file status\.json, field version: 3 instead of 1"):
        from_json(b'{"version": 3, "all": "different"}', "status.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"version": 1, "version": 1}', "twice"),
        (b'{"version": ' + b"1" * 5000 + b"}", "not JSON"),
        (b" " * (MAX_BYTES + 1), "at most"),
        (b"[]", "list instead of an object"),
        (b"null", "nothing instead of an object"),
    ],
)
def test_what_is_no_snapshot_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        from_json(data)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_only_finite_numbers_are_read(text: str) -> None:
    data = FULL.to_json().replace(b'"live_s":0.0', f'"live_s":{text}'.encode())
    assert data != FULL.to_json()
    with pytest.raises(BadInput):
        from_json(data)


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
def test_what_could_not_be_read_is_not_written(number: float) -> None:
    with pytest.raises(BadInput, match="field live_s"):
        dataclasses.replace(FULL, live_s=number).to_json()
    with pytest.raises(BadInput, match=r"field rates\[0\].hz"):
        dataclasses.replace(FULL, rates=(RateState("a", hz=number),)).to_json()


def test_nan_between_good_numbers_is_found() -> None:
    bad = dataclasses.replace(FULL, stages={"a": 1.0, "b": math.nan})
    with pytest.raises(BadInput, match=r"field stages\.'b'"):
        bad.to_json()
    edges = HistogramState((0.0, 1.0, 2.0), (1, 2))
    object.__setattr__(edges, "edges", (0.0, math.nan, 2.0))
    with pytest.raises(BadInput):
        dataclasses.replace(FULL, histograms={"bx": edges}).to_json()


def test_long_and_broken_texts_are_made_fit() -> None:
    made = dataclasses.replace(FULL, errors=(ErrorState(1, "x" * 1000), ErrorState(2, "a\udc80")))
    first, second = from_json(made.to_json()).errors
    assert first.text == "x" * (MAX_TEXT - 1) + "…"
    assert second.text == "a?"


def test_a_snapshot_that_is_too_big_is_not_written() -> None:
    rates = tuple(RateState("x" * MAX_TEXT, k) for k in range(MAX_ENTRIES))
    with pytest.raises(BadInput, match=f"at most {MAX_BYTES}"):
        dataclasses.replace(FULL, rates=rates).to_json()


@given(st.data())
def test_a_changed_snapshot_is_read_whole_or_refused(data: st.DataObject) -> None:
    """Bytes overwritten, removed or put in: from_json returns a Snapshot or raises BadInput."""
    raw = bytearray(FULL.to_json())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        new = data.draw(
            st.sampled_from([b"", b"9", b"-", b'"', b"[", b"}", b"e9", b"\x00", b"\xff"])
        )
        raw[at : at + data.draw(st.integers(0, 3))] = new
    try:
        found = from_json(bytes(raw))
    except BadInput:
        return
    assert from_json(found.to_json()) == found


def test_accounts_are_those_of_the_ledger() -> None:
    ledger = Ledger()
    ledger["packets"].received = 3
    ledger["packets"].out = 2
    ledger["packets"].bad["crc mismatch"] = 1
    read = from_json(dataclasses.replace(FULL, accounts=accounts_of(ledger)).to_json())
    assert read.accounts == ledger.as_dict()["accounts"]


def test_status_file_is_whole_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, FULL.to_json())
    ended, seen = threading.Event(), set()

    def look() -> None:
        while not ended.is_set():
            seen.add(from_json(path.read_bytes()).sequence)

    reader = threading.Thread(target=look)
    reader.start()
    for sequence in range(200):
        write_status(path, dataclasses.replace(FULL, sequence=sequence).to_json())
    ended.set()
    reader.join()
    assert from_json(path.read_bytes()).sequence == 199
    assert len(seen) > 1
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_status_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    write_status(path, FULL.to_json())
    with pytest.raises(BadInput):
        write_status(path, dataclasses.replace(FULL, live_s=math.nan).to_json())
    assert from_json(path.read_bytes()) == FULL
    assert os.listdir(tmp_path) == ["status.json"]
    with pytest.raises(FileNotFoundError):
        write_status(tmp_path / "gone" / "status.json", FULL.to_json())


def test_states_are_those_that_the_monitor_knows() -> None:
    assert "conflict" in module.SOURCE_STATES
    assert "failed" in module.RUN_STATES
    assert BoardState("a", "idle").fine
    assert not BoardState("a", "timed out").fine
