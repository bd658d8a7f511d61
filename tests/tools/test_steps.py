"""Files of expected rows: how crossings are numbered, which settings, what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scout40.streams.block import ORBIT_BX
from scout40.streams.errors import BadConfig, BadInput
from scout40.tools.chain import Chain
from scout40.tools.compare_steps import compare_steps
from scout40.tools.unpack import unpack
from tests.tools.link_tables import (
    OUTPUT,
    Columns,
    changed,
    compared,
    read,
    write,
)

LINKS = Chain("links")


# -- numbering of crossings ------------------------------------------------------------------------


def timed(columns: Columns, orbit: int) -> Columns:
    """Running numbers as orbit and bx, spread over several orbits."""
    number = columns["bx"]
    return {**columns, "orbit": orbit + number // 7, "bx": number % 7 * 500 + 1}


@pytest.mark.parametrize("orbit", [0, 12345, 4_294_967_280])
def test_orbits(links: Path, good: Columns, tmp_path: Path, orbit: int) -> None:
    inputs = write(tmp_path / "in.parquet", timed(read(links), orbit))
    result = compared(inputs, write(tmp_path / "good.parquet", timed(good, orbit)))
    assert (result.rows, result.different) == (len(good["bx"]), 0)
    bad = compared(
        inputs, write(tmp_path / "bad.parquet", timed(changed(good, "charge", 50), orbit))
    )
    assert bad.different == 1
    number = int(good["bx"][50])
    (first,) = bad.first
    assert first.number is None
    assert (first.orbit, first.bx) == (orbit + number // 7, number % 7 * 500 + 1)


def test_orbits_of_jets(calo_jets: tuple[Path, Columns], tmp_path: Path) -> None:
    """Three keys beside early crossings and the latest there can be: their order must hold."""
    rows, jets = read(calo_jets[0]), calo_jets[1]
    orbits = np.array([5, 200_000_000, 4_294_967_290])
    tables = [
        {**columns, "orbit": orbits[columns["event"] // 2], "bx": columns["event"] % 2 + 3563}
        for columns in (rows, jets)
    ]
    for columns in tables:
        del columns["event"]
    inputs = write(tmp_path / "in.parquet", tables[0])
    result = compared(inputs, write(tmp_path / "jets.parquet", tables[1]), Chain("towers"))
    assert result.tallies[0].missing == 0
    assert not any(result.tallies[0].columns.values())


def test_orbits_on_one_side_only(links: Path, good: Columns, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.parquet", good)
    with_orbit = write(tmp_path / "timed.parquet", timed(good, 5))
    inputs = write(tmp_path / "in.parquet", timed(read(links), 5))
    with pytest.raises(BadInput, match=r"no crossing of .*timed\.parquet is in the input"):
        compared(links, with_orbit)
    with pytest.raises(BadInput, match=r"plain\.parquet.*has no column orbit, but the input has"):
        compared(inputs, plain)


def test_orbit_without_bx_counts_events(links: Path, good: Columns, tmp_path: Path) -> None:
    columns = {"event" if name == "bx" else name: values for name, values in good.items()}
    expected = write(tmp_path / "e.parquet", {**columns, "orbit": columns["event"]})
    assert compared(links, expected).different == 0


def test_empty_crossing_in_an_orbit(links: Path, good: Columns, tmp_path: Path) -> None:
    """A crossing without a row is empty, so an expected muon there is missing."""
    inputs = write(tmp_path / "in.parquet", timed(read(links), 5))
    new = {name: 1 for name in OUTPUT} | {"bx": 33, "pos": 0, "orbit": 6}
    more = {n: np.append(values, new[n]) for n, values in timed(good, 5).items()}
    (tally,) = compared(inputs, write(tmp_path / "more.parquet", more)).tallies
    assert (tally.different, tally.missing) == (1, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bx", 0), ("bx", ORBIT_BX + 1), ("orbit", -1), ("orbit", 1 << 32), ("pos", -1)],
)
def test_values_out_of_range(
    links: Path, good: Columns, tmp_path: Path, name: str, value: int
) -> None:
    columns = timed(good, 5)
    columns[name] = np.where(np.arange(len(good["bx"])) == 3, value, columns[name].astype(np.int64))
    inputs = write(tmp_path / "in.parquet", timed(read(links), 5))
    with pytest.raises(BadInput, match=rf"bad\.parquet.*{name}.*values .*{value}.*expected"):
        compared(inputs, write(tmp_path / "bad.parquet", columns))


def test_other_crossings(links: Path, good: Columns, tmp_path: Path) -> None:
    far = write(tmp_path / "far.parquet", {**good, "bx": good["bx"] + 1000})
    with pytest.raises(BadInput, match=r"no crossing of .*far\.parquet is in the input"):
        compared(links, far)


def test_the_same_crossings_twice(links: Path, good: Columns, tmp_path: Path) -> None:
    """Two tables that both count from 0 cannot be told apart."""
    expected = write(tmp_path / "good.parquet", good)
    again = write(tmp_path / "again.parquet", read(links))
    with pytest.raises(BadInput, match=r"good\.parquet.*crossings of this file twice"):
        compare_steps([str(links), str(again)], [str(expected)], LINKS)


# -- files that cannot be used ---------------------------------------------------------------------


def test_same_place_twice(links: Path, good: Columns, tmp_path: Path) -> None:
    twice = {name: np.append(values, values[9]) for name, values in good.items()}
    with pytest.raises(BadInput, match=r"twice\.parquet.*two rows have the same pos in a crossing"):
        compared(links, write(tmp_path / "twice.parquet", twice))


def test_unknown_columns(links: Path, good: Columns, tmp_path: Path) -> None:
    needs = (
        "needs bx or event, and of input muons: link, slot, any exp_ column; .*output muons: pos"
    )
    for gone in ("pos", "bx"):
        columns = {name: values for name, values in good.items() if name != gone}
        with pytest.raises(BadInput, match=rf"bad\.parquet.*{needs}"):
            compared(links, write(tmp_path / "bad.parquet", columns))
    with pytest.raises(BadInput, match=needs):  # inputs without any expectation
        compared(links, links)
    with pytest.raises(BadInput, match="of jets: stage, pos; candidate jets: pos"):
        compared(links, links, Chain("towers"))


def test_no_integers(links: Path, good: Columns, tmp_path: Path) -> None:
    rows = len(good["bx"])
    bad = {
        "string": pa.array(["x"] * rows),
        "int64": pa.array([None, *range(rows - 1)]),
    }
    for kind, values in bad.items():
        path = tmp_path / f"{kind}.parquet"
        pq.write_table(pa.table({**good, "odd": values}), path)
        with pytest.raises(BadInput, match=rf"{kind}\.parquet.*odd.*expected integers, got {kind}"):
            compared(links, path)


def test_own_output_is_expected_output(links: Path, tmp_path: Path) -> None:
    """Physical columns are left out and named, so that a later version can be compared."""
    unpack([str(links)], chain=LINKS, out=tmp_path / "out", tables=True)
    for name, rows in (("mu", "output muons"), ("mu_intermediate", "intermediate muons")):
        (tally,) = compared(links, tmp_path / "out" / f"{name}.parquet").tallies
        assert (tally.step, tally.different) == (rows, 0)
        assert tally.rows > 40
        assert "hw_pt" in tally.compared
        assert {"pt", "eta_at_vtx"} <= set(tally.not_compared)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"bx,pos\n1,2\n", b"PAR1" + bytes(40) + b"PAR1"])
def test_not_parquet(links: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "expected.parquet"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"expected\.parquet.*not a Parquet file"):
        compared(links, path)


def test_no_such_file(links: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"absent\.parquet.*no such file"):
        compared(links, tmp_path / "absent.parquet")


def test_no_expected_rows(links: Path, good: Columns, tmp_path: Path) -> None:
    """Then every row of ours is extra."""
    nothing = {name: values[:0] for name, values in good.items()}
    (tally,) = compared(links, write(tmp_path / "none.parquet", nothing)).tallies
    assert (tally.rows, tally.missing, tally.extra) == (0, 0, len(good["bx"]))


@pytest.mark.parametrize("numbered", [False, True])
def test_no_expected_jets(calo_jets: tuple[Path, Columns], tmp_path: Path, numbered: bool) -> None:
    inputs, jets = calo_jets
    nothing = {name: values[:0] for name, values in jets.items()}
    nothing |= {"config": np.zeros(0, np.int64)} if numbered else {}
    (tally,) = compared(inputs, write(tmp_path / "none.parquet", nothing), Chain("towers")).tallies
    assert (tally.rows, tally.missing) == (0, 0)
    assert tally.extra > len(jets["pos"])


# -- settings of jets ------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [None, "2024", "phi-ring", "no-subtraction"])
def test_setting_of_files_without_numbers(
    calo_jets: tuple[Path, Columns], tmp_path: Path, config: str | None
) -> None:
    inputs, jets = calo_jets
    expected = write(tmp_path / "jets.parquet", jets)
    (tally,) = compared(inputs, expected, Chain("towers", calo_config=config)).tallies
    assert (tally.columns["hw_pt"] == 0) == (config in (None, "2024"))
    assert tally.compared == [name for name in jets if name not in ("event", "stage", "pos")]


def test_unknown_setting_in_a_file(calo_jets: tuple[Path, Columns], tmp_path: Path) -> None:
    inputs, jets = calo_jets
    odd = write(tmp_path / "odd.parquet", {**jets, "config": np.full(len(jets["pos"]), 9)})
    with pytest.raises(BadInput, match="config 9 is not known; known are 0 phi-ring, 1 2024"):
        compared(inputs, odd, Chain("towers"))
    one = write(tmp_path / "one.parquet", {**jets, "config": np.full(len(jets["pos"]), 1)})
    with pytest.raises(BadConfig, match="no rows of configuration chunky-donut, code 2"):
        compared(inputs, one, Chain("towers", calo_config="chunky-donut"))


# -- rows of the other trigger ---------------------------------------------------------------------


def test_muons_are_no_jets(calo_jets: tuple[Path, Columns], good: Columns, tmp_path: Path) -> None:
    muons_file = write(tmp_path / "muons.parquet", {**good, "bx": good["bx"] % 6})
    with pytest.raises(BadInput, match=r"candidate jets: pos \(and none of: tf_muon_index"):
        compare_steps([str(calo_jets[0])], [str(muons_file)], Chain("towers"))


def test_jets_are_no_muons(links: Path, calo_jets: tuple[Path, Columns], tmp_path: Path) -> None:
    jets = calo_jets[1]
    jets_file = write(tmp_path / "jets.parquet", {**jets, "stage": jets["pos"] * 0 + 1})
    with pytest.raises(BadInput, match=r"output muons: pos \(and none of: seed_et, stage"):
        compare_steps([str(links)], [str(jets_file)], LINKS)
