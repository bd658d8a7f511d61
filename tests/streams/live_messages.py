"""Messages of made-up feeds, for tests of what receives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scout40.streams.block import Block, Table, offsets_of
from scout40.streams.formats import frd
from scout40.streams.formats.gmt import ScoutingMuon
from scout40.streams.sinks.raw import event_bytes, payloads
from scout40.streams.sources.events import Received, received
from scout40.streams.wire import DATA, END, HEARTBEAT, Header, Message

RUN = 7


def muon_block(first: int, orbits: int, seed: int = 0) -> Block:
    """A few muons in every orbit."""
    rng = np.random.default_rng([seed, first])
    bx = np.sort(rng.choice(np.arange(1, 3565), (orbits, 5), replace=True), axis=1)
    orbit, place = np.divmod(np.unique(np.arange(orbits)[:, None] * 4096 + bx), 4096)
    counts = rng.integers(1, 4, len(orbit))
    number = int(counts.sum())
    fields = ScoutingMuon.fields
    columns = {name: np.zeros(number, bits.dtype) for name, bits in fields.items()}
    columns["hw_pt"] = rng.integers(1, 200, number).astype(fields["hw_pt"].dtype)
    columns["hw_qual"] = rng.choice([4, 8, 12], number).astype(fields["hw_qual"].dtype)
    columns["tf_muon_index"] = rng.integers(0, 108, number).astype(fields["tf_muon_index"].dtype)
    columns["hw_eta"] = rng.integers(-200, 200, number).astype(fields["hw_eta"].dtype)
    return Block(
        first, first + orbits, (orbit + first).astype(np.uint32), place.astype(np.uint16),
        {"mu": Table(columns, offsets_of(counts))},
        {"run": np.full(len(orbit), RUN, np.uint32), "lumi": np.ones(len(orbit), np.uint32)},
        contiguous=True, scouting=True,
    )  # fmt: skip


def payload(first: int, orbits: int, seed: int = 0) -> bytes:
    """FRD events of ``muon_block``, one an orbit."""
    block = muon_block(first, orbits, seed)
    return b"".join(event_bytes(one, RUN, 1) for one in payloads(block))


def header(
    sequence: int = 0, sent: int = 0, dropped: int = 0, *, feed: int = 1, source: int = frd.GMT,
    first: int = 0, orbits: int = 4, kind: int = DATA, time_ns: int = 0,
) -> Header:  # fmt: skip
    """A header whose message has one packet an orbit."""
    number = orbits if kind == DATA else 0
    return Header(kind, feed, sequence, sent, dropped, time_ns, RUN, source, first, number, number)


def stream(
    messages: int, orbits: int = 4, *, feed: int = 1, source: int = frd.GMT, first: int = 0,
    dropped: Sequence[int] = (), end: bool = True,
) -> list[tuple[Header, bytes]]:  # fmt: skip
    """Headers and payloads that a feed sends; it drops the messages of these sequence numbers."""
    found, sent, gone = [], 0, 0
    for k in range(messages):
        place = first + k * orbits
        head = header(k, sent, gone, feed=feed, source=source, first=place, orbits=orbits)
        if k in dropped:
            gone += orbits
            continue
        found.append((head, payload(place, orbits)))
        sent += orbits
    if end:
        last = header(messages, sent, gone, feed=feed, source=source, kind=END,
                      first=first + messages * orbits)  # fmt: skip
        found.append((last, b""))
    return found


def heartbeat(head: Header) -> Header:
    """A heartbeat with the totals of a header."""
    return replace(head, kind=HEARTBEAT, orbits=0, packets=0)


def as_received(
    head: Header, data: bytes, endpoint: str = "inproc://feed", arrived: float = 0.0
) -> Received:
    """The message as the receiving thread hands it on."""
    return received(Message(head, memoryview(data)), endpoint, arrived)
