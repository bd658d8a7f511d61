"""The engine of ``scout40 feed``: sends one stream to one endpoint, paced, every loss counted.

    from scout40.tools.feeder import FeedSettings, feed
    result = feed("synthetic:gmt", "ipc:///run/user/1000/feed", FeedSettings(orbits=100_000))

Packets: in = out + dropped + bad + pending. Out means handed to the socket; what is lost behind it
the consumer sees as gaps in the sequence numbers.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterator, Sequence

from scout40.streams import wire
from scout40.streams.block import ORBIT_HZ
from scout40.streams.ledger import Ledger
from scout40.streams.sockets import Push
from scout40.streams.sources.base import Quarantine, Run
from scout40.streams.sources.raw_packets import LAST_ORBIT, EventRange
from scout40.streams.sources.synthetic import Synthetic
from scout40.tools.feed_clock import PAUSE, WAIT, FeedClock
from scout40.tools.feed_source import Ahead, SyntheticRanges, open_stream
from scout40.tools.feed_state import FeedResult, FeedSettings, FeedState
from scout40.tools.pipeline import Asked, Never
from scout40.tools.receipt import Receipt, Status

__all__ = ["FeedResult", "FeedSettings", "FeedState", "Feeder", "feed"]

WAIT_MS = int(1000 * WAIT)
END_COPIES = 8
"""A PUSH socket deals messages out in turn: so many consumers of one feed get the end message."""

# Reasons for which packets are dropped.
SLOW_CONSUMER = "consumer slower than the feed, or gone"
PAUSED = "feed paused"
SLOW_FEED = "feed slower than its rate"
STOPPED = "stopped while the consumer was full"


def feed(
    source: str | Sequence[str] | Synthetic, endpoint: str, settings: FeedSettings | None = None,
    *, stop: Asked | None = None,
) -> FeedResult:  # fmt: skip
    """Send ``source`` to ``endpoint`` until it ends or ``stop`` asks; on any thread.

    source: raw files (paths, globs, folders), the text ``synthetic:...``, or a Synthetic.
    Raises BadInput and BadConfig as Feeder does.
    """
    return Feeder(source, endpoint, settings).run(stop)


class Feeder:
    """One feed: opened and bound when it is made, so that ``state.address`` is known.

    Raises BadInput for files that cannot be read, BadConfig for settings that do not go together
    and for an endpoint that cannot be bound.
    """

    def __init__(
        self, source: str | Sequence[str] | Synthetic, endpoint: str,
        settings: FeedSettings | None = None,
    ) -> None:  # fmt: skip
        self._settings = chosen = settings or FeedSettings()
        self._run = Run(quarantine=Quarantine(chosen.quarantine))
        self._stream = open_stream(
            source, packet_orbits=chosen.packet_orbits, loop=chosen.loop, orbits=chosen.orbits,
            first_orbit=chosen.first_orbit, run=chosen.run,
        )  # fmt: skip
        self._push = Push(endpoint, high_water=chosen.high_water, security=chosen.security)
        self._clock = FeedClock(chosen.rate, max(1, chosen.high_water // 2))
        self.total = self._stream.total
        self.state = FeedState(self._push.address, self._stream.name, secrets.randbits(64))
        self._connected = False
        self._whole = False
        self._last_sent = -math.inf
        # Orbits before this one are not sent, for that reason.
        self._resume, self._why = 0, PAUSED

    def run(self, stop: Asked | None = None) -> FeedResult:
        """Send everything, then the end message. Once only."""
        asked = stop or Never()
        ahead = Ahead(self._stream, self._run)
        try:
            self._feed(ahead, asked)
        finally:
            ahead.close()
            self.state.phase = "draining"
            self._farewell()
            self._push.wait_for_peers_to_go(self._settings.linger if self._connected else 0.0)
            self._push.close(int(1000 * self._settings.linger) if self._connected else 0)
            self.state.phase = "ended"
            self._copy_clock()
        return self._result()

    def abandon(self) -> None:
        """Close without having sent anything."""
        self._push.close(0)

    # -- the stream --------------------------------------------------------------------------

    def _feed(self, ahead: Ahead, asked: Asked) -> None:
        """Every range: skipped, or sent when it is due."""
        state, last = self.state, None
        for part in self._parts(ahead, asked):
            if last is None:
                if not self._begin(part, asked):
                    return
            elif part.run != last.run:
                self._clock.go_on(last.end_orbit, part.first_orbit)
            else:
                self._count_skipped(last, part.first_orbit)
            last = part
            state.run, state.stream = part.run, self._stream_id(part)
            if part.first_orbit < self._resume:
                self._drop(part, self._why)
                continue
            if not self._until_due(part, asked):
                return  # not sent and not counted: of a raw file it stays pending
            if self._skips_from(part):
                self._drop(part, self._why)
                continue
            self._send(part, asked)
        if self._whole and last is not None:
            self._count_skipped(last, self._resume)

    def _parts(self, ahead: Ahead, asked: Asked) -> Iterator[EventRange]:
        """Ranges until the stream ends or a stop is asked for."""
        while not asked.requested:
            try:
                part = ahead.take(WAIT)
            except TimeoutError:
                self._idle()
                continue
            if part is None:
                self._whole = True
                return
            yield part

    def _begin(self, part: EventRange, asked: Asked) -> bool:
        """Start the clock, with the first consumer if so set; False when stopped before."""
        state = self.state
        state.run, state.stream, state.next_orbit = (
            part.run, self._stream_id(part), part.first_orbit,
        )  # fmt: skip
        if self._settings.wait:
            state.phase = "waiting for a consumer"
            while not self._heartbeat(WAIT_MS):  # nobody takes it before a consumer is there
                if asked.requested:
                    return False
        state.phase = "running"
        self._clock.start(part.first_orbit)
        state.started = time.monotonic()
        return True

    def _stream_id(self, part: EventRange) -> int:
        chosen = self._settings.source_id
        return part.source if chosen is None else chosen

    def _until_due(self, part: EventRange, asked: Asked) -> bool:
        """Wait for the clock; False when stopped before."""
        while (left := self._clock.wait(part.end_orbit)) > 0:
            if asked.requested:
                return False
            if left > WAIT:
                self._idle()
            time.sleep(min(left, WAIT))
        return True

    def _skips_from(self, part: EventRange) -> bool:
        """Look how late the feed is. A stream in real time leaves out what it cannot catch up
        (True: begin with this part); any other goes on as if no time had passed."""
        clock, state, rate = self._clock, self.state, self._clock.rate
        lag = clock.lag(part.end_orbit)
        if rate is not None and lag > PAUSE:
            steps = int(lag * rate) // self._settings.packet_orbits
            if isinstance(self._stream, SyntheticRanges) and self._settings.drops and steps:
                wanted = part.first_orbit + steps * self._settings.packet_orbits
                self._resume = min(wanted, self._stream.end)
                self._why = PAUSED if clock.paused else SLOW_FEED
                self._stream.skip_to(self._resume)
                return True
            clock.put_off(lag)
            lag = 0.0
        state.lag, state.lag_max = lag, max(state.lag_max, lag)
        return False

    def _count_skipped(self, last: EventRange, orbit: int) -> None:
        """Orbits of the synthetic stream that were never made count as dropped."""
        orbits = orbit - last.end_orbit
        if isinstance(self._stream, SyntheticRanges) and orbits > 0:
            messages = -(-orbits // self._settings.packet_orbits)
            self._dropped(messages, orbits * last.packets // last.orbits, orbit, self._why)

    # -- messages ----------------------------------------------------------------------------

    def _send(self, part: EventRange, asked: Asked) -> None:
        head, _ = wire.encode(self._header(wire.DATA, part), part.payload)
        frames = head, part.payload
        taken = self._push.send(frames, 0)
        reason = SLOW_CONSUMER
        if not taken and not self._settings.drops:
            taken, reason = self._send_blocked(frames, asked), STOPPED
        now = self._clock.tick()
        if taken:
            state = self.state
            state.messages += 1
            state.sent_messages += 1
            state.sent_packets += part.packets
            state.sent_orbits += part.orbits
            state.sent_bytes += len(part.payload)
            state.next_orbit = part.end_orbit
            state.seconds = now - state.started
            self._connected, self._last_sent = True, now
        else:
            self._drop(part, reason)
        self._clock.sent(part.orbits)
        self._copy_clock()

    def _send_blocked(self, frames: Sequence[bytes | bytearray | memoryview], asked: Asked) -> bool:
        """Try until the socket has room; after a stop only for the time to linger."""
        begin, deadline = time.monotonic(), math.inf
        while not (taken := self._push.send(frames, WAIT_MS)):
            now = self._clock.tick()
            if asked.requested:
                linger = self._settings.linger if self._connected else 0.0
                deadline = min(deadline, now + linger)
            if now >= deadline:
                break
        self.state.blocked_seconds += time.monotonic() - begin
        return taken

    def _drop(self, part: EventRange, reason: str) -> None:
        self._dropped(1, part.packets, part.end_orbit, reason)

    def _dropped(self, messages: int, packets: int, next_orbit: int, reason: str) -> None:
        state = self.state
        state.messages += messages
        state.dropped_messages[reason] += messages
        state.dropped_packets[reason] += packets
        state.next_orbit = next_orbit

    def _idle(self) -> None:
        """While nothing is due: look at the clock, send a heartbeat when it is time for one."""
        if self._clock.tick() - self._last_sent >= self._settings.heartbeat and self._connected:
            self._heartbeat(0)

    def _heartbeat(self, timeout_ms: int) -> bool:
        head, _ = wire.encode(self._header(wire.HEARTBEAT))
        taken = self._push.send((head, b""), timeout_ms)
        if taken:
            self.state.heartbeats += 1
            self._connected, self._last_sent = True, time.monotonic()
        return taken

    def _farewell(self) -> None:
        """The end message with the totals, retried while the socket is full."""
        deadline = time.monotonic() + (self._settings.linger if self._connected else 0.0)
        frames = wire.encode(self._header(wire.END))[0], b""
        while not self._push.send(frames, WAIT_MS if self._connected else 0):
            if time.monotonic() >= deadline:
                return
        for _ in range(END_COPIES - 1):
            self._push.send(frames, 0)

    def _header(self, kind: int, part: EventRange | None = None) -> wire.Header:
        state = self.state
        return wire.Header(
            kind=kind,
            feed=state.feed,
            sequence=state.messages,
            sent_packets=state.sent_packets,
            dropped_packets=state.dropped_packets.total(),
            send_time_ns=time.time_ns(),
            run=state.run,
            source=state.stream,
            first_orbit=part.first_orbit if part else min(state.next_orbit, LAST_ORBIT),
            orbits=part.orbits if part else 0,
            packets=part.packets if part else 0,
        )

    # -- the end -----------------------------------------------------------------------------

    def _copy_clock(self) -> None:
        state, clock = self.state, self._clock
        state.pauses, state.paused_seconds = clock.pauses, clock.paused_seconds
        state.slips, state.slipped_seconds = clock.slips, clock.slipped_seconds

    def _result(self) -> FeedResult:
        """Settle the ledger; nobody else changes it any more."""
        state, ledger = self.state, self._run.ledger
        packets, messages = ledger["packets"], ledger["messages"]
        settled = state.sent_packets + state.dropped_packets.total()
        if isinstance(self._stream, SyntheticRanges):
            packets.received += settled
        else:
            packets.pending -= settled
        packets.out = state.sent_packets
        packets.dropped.update(state.dropped_packets)
        messages.received, messages.out = state.messages, state.sent_messages
        messages.dropped.update(state.dropped_messages)
        ledger.add("orbits", state.sent_orbits)
        ledger.add("heartbeats", state.heartbeats)
        ledger.add("pauses", state.pauses)
        ledger.add("paused_ms", round(1000 * state.paused_seconds))
        status: Status = "complete" if self._whole else "interrupted"
        return FeedResult(self._receipt(ledger, status), (state,))

    def _receipt(self, ledger: Ledger, status: Status) -> Receipt:
        return Receipt(
            command="feed", ledger=ledger, seconds=self.state.seconds,
            source=f"{self.state.source} to {self.state.address}", status=status,
            lhc_seconds=self.state.sent_orbits / ORBIT_HZ,
            bad=tuple(self._run.quarantine.reasons),
        )  # fmt: skip
