"""The clock of a feed with a made-up time: no drift, bounded catching up, pauses found."""

from __future__ import annotations

import math

import pytest

from scout40.streams.block import ORBIT_HZ
from scout40.streams.errors import BadConfig
from scout40.tools.feed_clock import CATCH_UP, PAUSE, FeedClock, parse_rate


class Time:
    """A time that only sleeping moves; every sleep lasts ``overshoot`` seconds too long."""

    def __init__(self, overshoot: float = 0.0) -> None:
        self.value, self.overshoot = 1e6, overshoot

    def __call__(self) -> float:
        return self.value

    def sleep(self, seconds: float) -> None:
        self.value += seconds + self.overshoot


def send(clock: FeedClock, time: Time, first: int, orbits: int = 16) -> float:
    """One message as a feed sends it; the lag with which it went."""
    while (left := clock.wait(first + orbits)) > 0:
        time.sleep(min(left, 0.1))
    lag = clock.lag(first + orbits)
    clock.sent(orbits)
    return lag


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1x", ORBIT_HZ), ("2.5x", 2.5 * ORBIT_HZ), ("max", None), ("100", 100.0), ("0.5", 0.5)],
)
def test_rates(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "x", "0", "-1x", "nan", "inf", "fast", "1 x 2", "infx"])
def test_wrong_rates(text: str) -> None:
    with pytest.raises(BadConfig, match=r"expected 1x, 2\.5x, max or orbits per second"):
        parse_rate(text)


def test_no_drift_in_an_hour() -> None:
    """Sleeps that are 0.3 ms too long each: the lag never grows, nothing is ever early."""
    time = Time(overshoot=0.3e-3)
    clock = FeedClock(ORBIT_HZ, 32, time)
    clock.start(1000)
    begin, orbits = time(), 256
    messages = int(3600 * ORBIT_HZ / orbits)
    lags = [send(clock, time, 1000 + orbits * k, orbits) for k in range(messages)]
    assert max(lags) < 0.4e-3
    assert min(lags) >= 0.0
    assert time() - begin == pytest.approx(messages * orbits / ORBIT_HZ, abs=1e-3)
    assert clock.pauses == clock.slips == 0


def test_a_short_delay_is_caught_up_without_flooding() -> None:
    time = Time()
    clock = FeedClock(16_000.0, 10, time)  # one message a millisecond
    clock.start(0)
    for k in range(50):
        send(clock, time, 16 * k)
    time.value += 0.5
    begin, sent = time(), []
    for k in range(50, 2600):
        send(clock, time, 16 * k)
        sent.append(time() - begin)
    assert sum(at == 0 for at in sent) <= 11, "the burst, and the one that was due"
    assert sent[200] == pytest.approx(1e-3 / CATCH_UP * 190, abs=2e-3)
    assert sent[-1] == pytest.approx(2550e-3 - 0.5, abs=2e-3), "the delay is made up for"
    assert clock.pauses == 0


def test_a_long_step_is_a_pause() -> None:
    time = Time()
    clock = FeedClock(16_000.0, 10, time)
    clock.start(0)
    send(clock, time, 0)
    time.value += 5.0
    assert clock.wait(32) <= 0
    assert clock.lag(32) == pytest.approx(5.0 - 1e-3)
    assert clock.paused
    clock.put_off(clock.lag(32))
    assert (clock.pauses, clock.slips) == (1, 0)
    assert clock.paused_seconds == pytest.approx(5.0)
    assert clock.lag(32) == pytest.approx(0.0, abs=1e-6)
    assert not clock.paused, "on time again"
    assert clock.wait(48) == pytest.approx(1e-3)


def test_a_pause_while_a_message_is_sent_is_still_one() -> None:
    """It is seen behind that message, and the next finds itself late."""
    time = Time()
    clock = FeedClock(16_000.0, 10, time)
    clock.start(0)
    clock.wait(16)
    time.value += 5.0
    clock.tick()
    clock.sent(16)
    assert clock.lag(32) > PAUSE
    assert clock.paused


def test_a_feed_that_is_too_slow_has_no_pause() -> None:
    time = Time()
    clock = FeedClock(16_000.0, 10, time)
    clock.start(0)
    for _ in range(20):
        time.value += 0.1
        clock.tick()
    assert clock.lag(16) > PAUSE
    assert not clock.paused
    clock.put_off(clock.lag(16))
    assert (clock.pauses, clock.slips) == (0, 1)
    assert clock.slipped_seconds == pytest.approx(2.0, abs=2e-3)


def test_waiting_before_the_start_is_no_pause() -> None:
    time = Time()
    clock = FeedClock(1000.0, 10, time)
    time.value += 10 * PAUSE
    clock.start(0)
    assert clock.wait(1) == pytest.approx(1e-3)
    assert clock.pauses == 0


def test_another_run_follows_at_once() -> None:
    time = Time()
    clock = FeedClock(1000.0, 10, time)
    clock.start(5_000_000)
    send(clock, time, 5_000_000, 100)
    clock.go_on(5_000_100, 7)
    assert clock.wait(107) == pytest.approx(0.1)


def test_without_a_rate_everything_is_due() -> None:
    time = Time()
    clock = FeedClock(None, 10, time)
    clock.start(0)
    for k in range(1000):
        assert send(clock, time, 16 * k) == 0.0
    assert clock.wait(1 << 31) == 0.0
    assert not math.isnan(clock.due(1 << 31))
