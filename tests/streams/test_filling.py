"""Filling schemes: the packaged ones slot by slot, and those that must be refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scout40.streams.errors import BadConfig
from scout40.streams.filling import filling, packaged, parse

GOOD = {
    "pilot": "12", "pilot_collides": "false", "batch": "36", "ps_gap": "7", "sps_gap": "31",
    "injections": "[3, 2]",
}  # fmt: skip


def text(**changes: str) -> bytes:
    return "".join(f"{key} = {value}\n" for key, value in (GOOD | changes).items()).encode()


def test_both_schemes_are_packaged() -> None:
    assert packaged() == ["2352b", "2460b"]


@pytest.mark.parametrize(
    ("name", "bunches", "injections", "batches", "gap"),
    [("2352b", 2352, 22, 3, 229), ("2460b", 2460, 17, 4, 220)],
)
def test_packaged(name: str, bunches: int, injections: int, batches: int, gap: int) -> None:
    scheme = filling(name)
    assert scheme.filled.sum() == bunches
    assert scheme.colliding.sum() == bunches - 12
    assert scheme.abort_gap == gap
    assert not scheme.colliding[:12].any()
    np.testing.assert_array_equal(scheme.filled[12:], scheme.colliding[12:])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], scheme.filled, [0]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    assert (stops - starts).tolist() == [12] + [36] * ((bunches - 12) // 36)
    gaps = starts[1:] - stops[:-1]
    assert (gaps == 31).sum() == injections
    assert (gaps == 7).sum() == len(gaps) - injections
    # The first injection behind the pilot has this many batches, 7 slots apart.
    assert gaps[: batches + 1].tolist() == [31] + [7] * (batches - 1) + [31]


def test_a_file_may_be_given(tmp_path: Path) -> None:
    place = tmp_path / "small.toml"
    place.write_bytes(text(pilot_collides="true"))
    scheme = filling(str(place))
    assert scheme.filled.sum() == scheme.colliding.sum() == 12 + 5 * 36
    with pytest.raises(BadConfig, match=r"absent\.toml: No such file"):
        filling(str(tmp_path / "absent.toml"))


def test_an_injection_without_batches_is_a_gap() -> None:
    scheme = parse(text(injections="[1, 0, 1]"), "holes")
    assert np.flatnonzero(scheme.filled)[[12, 48]].tolist() == [12 + 31, 12 + 31 + 36 + 31 + 31]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spacing": "25"}, r"unknown keys \['spacing'\]"),
        ({"pilot": "-1"}, "pilot has -1"),
        ({"batch": "36.0"}, r"batch has 36\.0"),
        ({"ps_gap": "true"}, "ps_gap has True"),
        ({"pilot_collides": "1"}, "pilot_collides"),
        ({"injections": "3"}, "injections"),
        ({"injections": "[3, 'x']"}, "injections has 'x'"),
        ({"injections": "[" + "3, " * 22 + "2]"}, "abort gap of 76 slots, at least 121"),
        ({"injections": "[" + "3, " * 30 + "]"}, "needs 4602 slots"),
        ({"pilot": "0", "injections": "[]"}, "no bunch"),
        ({"batch": "= 3"}, "filling scheme bad"),
    ],
)
def test_bad_schemes(changes: dict[str, str], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        parse(text(**changes), "bad")


def test_absent_key_and_unknown_name() -> None:
    with pytest.raises(BadConfig, match=r"absent keys \['batch'\]"):
        parse(text().replace(b"batch = 36\n", b""), "bad")
    with pytest.raises(BadConfig, match="expected one of 2352b, 2460b"):
        filling("9999b")
