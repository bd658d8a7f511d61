"""Clusters: geometry of the members, ties, positions, tables from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from scout40.emulator.calo import clusters
from scout40.emulator.calo.clusters_grid import FINE_ETA, electromagnetic, tower_columns
from scout40.emulator.calo.clusters_tables import ClusterTables, read_cluster_tables
from scout40.emulator.calo.geometry import CELLS, FIRST, N_M, STRIDE, fill_grid
from scout40.streams.errors import BadConfig
from scout40.streams.sources.base import Run
from scout40.streams.sources.testvector import TestVectorSource
from tests.emulator.calo import slow_clusters as slow

NAMES = ("N", "S", "E", "NE", "SE", "NN", "SS", "W", "NW", "SW")


def grid_of(towers: slow.Towers) -> np.ndarray:
    """The kernels' grid of one event."""
    columns = tower_columns(slow.tower_table([towers]))
    grid = np.zeros(CELLS, np.uint16)
    _, bad = fill_grid(
        grid, columns.hw_et, columns.hw_eta, columns.hw_phi, columns.row_of, 0, len(towers)
    )
    assert bad == -1
    return grid


@given(slow.events())
def test_clusters_equal_the_twin(towers: slow.Towers) -> None:
    grid = grid_of(towers)
    found = []
    for index in [*range(-28, 0), *range(1, 29)]:
        row = N_M - 1 + index if index > 0 else N_M + index
        for iphi in range(1, 73):
            cell = FIRST + row * STRIDE + iphi - 1
            if grid[cell] >= clusters.SEED and clusters.is_maximum(grid, cell, 1, 4):
                every = clusters.members(grid, cell)
                mask, fine, east = clusters.trimmed(grid, cell, every)
                names = frozenset(n for k, n in enumerate(NAMES) if mask >> k & 1)
                assert clusters.mask_of(clusters.shape_of(mask), east) == mask
                found.append(slow.Cluster(index, iphi, names, east, (0, -1, 1)[fine]))
    assert found == slow.clusters(slow.Event(towers), 28)


def test_steps_are_those_of_the_directions() -> None:
    expected = [slow.WHERE[name][0] * STRIDE + slow.WHERE[name][1] for name in NAMES]
    assert [clusters.step(member) for member in range(10)] == expected


def test_one_of_two_equal_seeds_stays() -> None:
    # Larger deta + dphi stays, then larger deta; also across the end of phi and eta 0.
    for one, other in (
        ((5, 10), (5, 11)),
        ((5, 72), (5, 1)),
        ((-1, 10), (1, 9)),
        ((5, 10), (6, 9)),
    ):
        grid = grid_of({one: (8, 0, 0), other: (8, 0, 0)})
        stays = [
            bool(clusters.is_maximum(grid, FIRST + row * STRIDE + iphi - 1, 1, 4))
            for ieta, iphi in (one, other)
            for row in [N_M - 1 + ieta if ieta > 0 else N_M + ieta]
        ]
        assert stays == [False, True]


def test_fine_positions() -> None:
    assert FINE_ETA[N_M].tolist() == [1, 0, 2]  # ieta 1
    assert FINE_ETA[N_M - 1].tolist() == [-1, -2, 0]
    assert FINE_ETA[N_M + 25].tolist() == [55, 54, 56]  # ieta 26
    assert FINE_ETA[N_M + 27].tolist() == [63, 62, 64]  # ieta 28


@pytest.mark.parametrize(("name", "ring"), [("eg", 28), ("tau", 25)])
def test_codes_of_eta_in_data_are_fine_positions(reference: Path, name: str, ring: int) -> None:
    """The 2024 data vector has codes that the rule gives, and all of them but at the very edge."""
    path = reference / "testvectors/ugt/L1menu_2024_v1_3_0_data_TestVector_000.txt"
    (block,) = TestVectorSource([str(path)]).blocks(Run())
    found = set(block.tables[name]["hw_eta"].tolist())
    possible = set(FINE_ETA[N_M - ring : N_M + ring].reshape(-1).tolist())
    assert found <= possible
    assert possible - found <= {-62, 62}


def test_electromagnetic_part() -> None:
    et = np.full(6, 100)
    ratio, misc = np.array([0, 1, 1, 7, 7, 7]), np.array([0, 0, 2, 2, 3, 1])
    assert electromagnetic(et, ratio, misc).tolist() == [50, 33, 66, 99, 100, 0]


def write(path: Path, n_in: int, n_out: int) -> None:
    """An official table that holds its own address, as far as it fits."""
    rows = (f"{k} {k & (1 << n_out) - 1}" for k in range(1 << n_in))
    path.write_text(f"#<header> V1 {n_in} {n_out} </header>\n" + "\n".join(rows) + "\n")


def test_tables_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "egTrimmingLUT_10_v16.01.19.txt", 12, 7)
    write(tmp_path / "egCompressLUT_v4.txt", 10, 5)
    write(tmp_path / "metPumLUT_2023v0_puppiMet_fit.txt", 11, 9)
    tables = read_cluster_tables(tmp_path)
    assert tables.eg_trimming is not None
    assert tables.eg_trimming[200] == 72
    assert tables.tau_iso is None
    assert [source.split()[0] for source in tables.sources] == [
        "egTrimmingLUT_10_v16.01.19.txt", "egCompressLUT_v4.txt",
        "metPumLUT_2023v0_puppiMet_fit.txt",
    ]  # fmt: skip
    write(tmp_path / "metPumLUT_2022.txt", 11, 9)
    with pytest.raises(BadConfig, match=r"expected one file metPumLUT\*\.txt"):
        read_cluster_tables(tmp_path)


def test_tables_that_do_not_fit_are_refused() -> None:
    compress = np.arange(1024)
    with pytest.raises(BadConfig, match="eg_calibration needs eg_compress"):
        ClusterTables(eg_calibration=np.zeros(4096, np.int64))
    with pytest.raises(BadConfig, match="eg_calibration has 16 entries"):
        ClusterTables(eg_compress=compress, eg_calibration=np.zeros(16, np.int64))
    with pytest.raises(BadConfig, match="eg_compress has 100 entries"):
        ClusterTables(eg_compress=compress[:100])
    with pytest.raises(BadConfig, match="tau_iso has 8 entries"):
        ClusterTables(tau_compress=np.arange(2048) % 32, tau_iso=np.zeros(8, np.int64))
    assert read_cluster_tables("/nonexistent").sources == ()
