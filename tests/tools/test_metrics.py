"""The Prometheus endpoint and the dashboard that reads it."""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import urllib.error
import urllib.request
from importlib import resources
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scout40.streams.errors import BadConfig
from scout40.streams.snapshot import HistogramState, RateState, Snapshot
from scout40.tools import metrics
from tests.tools.monitor_fake import SCENES

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

# Exported for those who look closer; no panel of the dashboard shows them.
NOT_SHOWN = {
    "scout40_run_info", "scout40_orbits_total", "scout40_crossings_per_second",
    "scout40_written_rows_per_second", "scout40_files_closed_total",
    "scout40_source_packets_total", "scout40_source_gaps_total",
    "scout40_source_duplicates_total", "scout40_source_reordered_total",
    "scout40_algorithm_fired_total", "scout40_latency_messages_total",
}  # fmt: skip


def scrape(snapshot: Snapshot | None) -> str:
    with metrics.serve("127.0.0.1:0", lambda: snapshot) as server:
        return page(server)


def page(server: metrics.Server) -> str:
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def samples(text: str) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            key = (one.name, tuple(sorted(one.labels.items())))
            assert key not in found, f"{key} stands twice"
            found[key] = one.value
    return found


def test_every_number_of_a_snapshot_is_there() -> None:
    found = samples(scrape(SCENES["losing"](100)))
    second = (("source", "feed-2"),)
    assert found["scout40_up", ()] == 1
    assert found["scout40_state", (("scout40_state", "running"),)] == 1
    assert found["scout40_state", (("scout40_state", "failed"),)] == 0
    assert found["scout40_orbits_total", ()] == 1_124_550
    assert found["scout40_orbits_per_second", ()] == 7800
    assert found["scout40_ledger_balanced", ()] == 1
    assert found["scout40_source_dropped_packets_total", second] == 120_000
    assert found["scout40_source_lost_packets", second] == 1600
    assert found["scout40_source_lag_seconds", second] == pytest.approx(40.3)
    assert found["scout40_source_state", (("source", "feed-2"), ("state", "running"))] == 1
    total = (("path", "total"), ("quantile", "0.99"))
    assert found["scout40_latency_seconds", total] == pytest.approx(1.25)
    assert found["scout40_stage_busy_seconds_total", (("stage", "menu"),)] == pytest.approx(55)
    full = (("policy", "drop"), ("queue", "unpack"))
    assert found["scout40_queue_dropped_total", full] == 0
    assert found["scout40_queue_filled", (("queue", "unpack"),)] == 64
    assert found["scout40_algorithm_fired_total", (("algorithm", "L1_SingleMu22"),)] == 1_620_000
    entry = (("entry", "in"), ("reason", ""), ("unit", "packets"))
    assert found["scout40_ledger_entries", entry] == 2_249_100


def test_the_newest_snapshot_is_read_at_every_scrape() -> None:
    steps = iter((1, 2))
    with metrics.serve("127.0.0.1:0", lambda: SCENES["healthy"](next(steps))) as server:
        pages = [samples(page(server)) for _ in range(2)]
    assert [found["scout40_orbits_total", ()] for found in pages] == [11_245, 22_491]


def test_before_the_first_snapshot_only_up_is_there() -> None:
    assert samples(scrape(None)) == {("scout40_up", ()): 0.0}


def test_a_failed_run_says_so() -> None:
    found = samples(scrape(SCENES["error"](100)))
    assert found["scout40_ledger_balanced", ()] == 0
    assert found["scout40_state", (("scout40_state", "failed"),)] == 1
    assert found["scout40_board_fine", (("board", "card0"),)] == 0


def test_labels_are_bounded_and_doubles_do_not_break_the_page() -> None:
    base = SCENES["healthy"](3)
    rates = tuple(RateState(f'a"\\\n{k}', k) for k in range(2000))
    made = dataclasses.replace(
        base, rates=rates, sources=base.sources * 2, boards=base.boards * 2,
        histograms={"bx": HistogramState((0.0, 1.0), (1,))},
    )  # fmt: skip
    found = samples(scrape(made))
    fired = [labels for name, labels in found if name == "scout40_algorithm_fired_total"]
    assert len(fired) == metrics.MAX_LABELS
    assert (("algorithm", 'a"\\\n7'),) in fired


@pytest.mark.parametrize(
    "address", ["0.0.0.0:0", "*:9140", ":9140", "192.168.1.2:9140", "[::]:9140", "daq1:9140"]
)
def test_only_the_loopback_interface_answers(address: str) -> None:
    with pytest.raises(BadConfig, match="no keys"):
        metrics.serve(address, lambda: None)


@pytest.mark.parametrize("address", ["127.0.0.1", "9140", "127.0.0.1:http", "127.0.0.1:70000"])
def test_an_address_has_a_port(address: str) -> None:
    with pytest.raises(BadConfig, match="HOST:PORT"):
        metrics.serve(address, lambda: None)


def test_names_of_loopback_are_taken() -> None:
    with metrics.serve("localhost:0", lambda: None) as server:
        assert server.address.startswith("127.0.0.1:")


def test_a_port_in_use_is_named_and_given_back_later() -> None:
    with metrics.serve("127.0.0.1:0", lambda: None) as server:
        address, named = server.address, re.escape(f"metrics at {server.address}")
        with pytest.raises(BadConfig, match=named):
            metrics.serve(address, lambda: None)
    with pytest.raises(urllib.error.URLError):
        page(server)
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        pass


def dashboard() -> dict[str, Any]:
    path = resources.files("scout40.configs").joinpath("grafana", "scout40.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_dashboard_and_endpoint_know_the_same_metrics() -> None:
    exported = {name for name, _ in samples(scrape(SCENES["losing"](100)))}
    shown: set[str] = set()
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            legend_free = re.sub(r"\{[^}]*\}", "", target["expr"])
            shown |= set(re.findall(r"scout40_\w+", legend_free))
    assert shown - exported == set(), "the dashboard asks for what is not there"
    assert exported - shown == NOT_SHOWN


def test_dashboard_uses_labels_that_exist() -> None:
    labels: dict[str, set[str]] = {}
    for name, pairs in samples(scrape(SCENES["losing"](100))):
        labels.setdefault(name, set()).update(label for label, _ in pairs)
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            names = set(re.findall(r"scout40_\w+", re.sub(r"\{[^}]*\}", "", target["expr"])))
            there = set().union(*(labels.get(name, set()) for name in names))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= there
            for name, inside in re.findall(r"(scout40_\w+)\{([^}]*)\}", target["expr"]):
                assert set(re.findall(r"(\w+)!?=", inside)) <= labels[name]


def test_dashboard_is_one_that_grafana_can_lay_out() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells)), "two panels overlap"
    assert max(x for x, _ in cells) < 24
