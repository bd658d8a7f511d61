"""Calibration: the packaged constants, and tables from a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from scout40.emulator.calo.calibration import (
    Calibration,
    calibrated,
    packaged_calibration,
    read_calibration,
)
from scout40.emulator.calo.config import configuration
from scout40.emulator.calo.emulate import CaloLayer2, load_tables, packaged_tables
from scout40.emulator.calo.jets import find_jets
from scout40.streams.errors import BadConfig, BadInput
from tests.emulator.calo.jet_events import block_of, jets_of

PT, ETA, WORD = "lut_pt_compress_x.txt", "lut_eta_compress_x.txt", "lut_calib_x.txt"


def write(path: Path, n_in: int, n_out: int, values: list[int]) -> None:
    lines = [f"#<header> V1 {n_in} {n_out} </header>"]
    lines += [f"{address} {value}" for address, value in enumerate(values)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two bins in pt and eta: factor 1 everywhere but in the last pair of bins."""
    write(tmp_path / PT, 8, 4, [int(address >= 100) for address in range(256)])
    write(tmp_path / ETA, 6, 4, [3 * int(address >= 20) for address in range(64)])
    words = [512] * 2048
    words[3 << 4 | 1] = 256 | (256 - 5) << 10
    write(tmp_path / WORD, 11, 18, words)
    return tmp_path


def value(calibration: Calibration, et: int, m: int) -> int:
    return int(calibrated(et, m, calibration.multiplier.ravel(), calibration.addend.ravel()))


@pytest.mark.parametrize(
    ("et", "m", "expected"),
    [
        # Et * multiplier >> 9, plus addend, of lut_calib_2023v0_ECALZS_PhiRing
        (1, 1, 1),
        (2, 1, 18),
        (40, 1, 100),
        (40, 40, (40 * 762) >> 9),
        (40, 6, ((40 * 1023) >> 9) + 22),
        (99, 6, (99 * 998) >> 9),
        (510, 1, (510 * 746) >> 9),
        (509, 1, (509 * 767) >> 9),
        (65535, 40, 65023),
        (65535, 1, 65535),
    ],
)
def test_packaged_constants(et: int, m: int, expected: int) -> None:
    assert value(packaged_calibration(), et, m) == expected


def test_packaged_constants_are_named() -> None:
    calibration = packaged_calibration()
    assert calibration.sources == ("packaged 2024 constants",)
    assert calibration.multiplier.shape == calibration.addend.shape == (41, 256)


def test_tables_of_a_folder(folder: Path) -> None:
    calibration = read_calibration(folder)
    assert value(calibration, 199, 20) == 199
    assert value(calibration, 200, 19) == 200
    assert value(calibration, 200, 20) == 95
    digests = [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (PT, ETA, WORD)]
    names = (PT, ETA, WORD)
    assert calibration.sources == tuple(
        f"{name} sha256:{digest}" for name, digest in zip(names, digests, strict=True)
    )


def test_tables_of_a_folder_are_used(folder: Path) -> None:
    block = block_of([{(22, 5): 400}])
    layer = CaloLayer2(configuration("2024"), load_tables(folder))
    jets = find_jets(block, layer.config, layer.tables.calibration)
    pu = 400 * 9 // 72
    assert jets_of(jets.demux) == [(((400 - pu) * 256 >> 9) - 5, 22, 5, 400, 400, pu)]
    assert layer.sources[0].startswith(f"{PT} sha256:")
    assert CaloLayer2(configuration("phi-ring"), load_tables(folder)).sources == ()
    assert CaloLayer2(configuration("2024")).sources == ("packaged 2024 constants",)


def test_result_below_zero_overflows(folder: Path) -> None:
    words = [512 | (256 - 100) << 10] * 2048
    write(folder / WORD, 11, 18, words)
    assert value(read_calibration(folder), 99, 1) == 65535
    assert value(read_calibration(folder), 100, 1) == 0


def test_jet_calibrated_to_zero_is_not_sent(folder: Path) -> None:
    write(folder / WORD, 11, 18, [0] * 2048)
    jets = find_jets(block_of([{(1, 1): 80}]), configuration("2024"), read_calibration(folder))
    assert len(jets.presort) == 1
    assert len(jets.processor) == len(jets.demux) == 0


@pytest.mark.parametrize("name", [PT, ETA, WORD])
def test_missing_or_double_table(folder: Path, name: str) -> None:
    copy = folder / name.replace("_x", "_y")
    copy.write_bytes((folder / name).read_bytes())
    with pytest.raises(BadConfig, match="expected one file"):
        read_calibration(folder)
    copy.unlink()
    (folder / name).unlink()
    with pytest.raises(BadConfig, match=r"expected one file.*found none"):
        load_tables(folder)


def test_table_of_another_size(folder: Path) -> None:
    write(folder / PT, 9, 4, [0] * 512)
    with pytest.raises(BadConfig, match="9 bits in and 4 out, expected 8 bits in and 4 out"):
        read_calibration(folder)


def test_word_table_too_small(folder: Path) -> None:
    write(folder / WORD, 5, 18, [512] * 32)
    with pytest.raises(BadConfig, match="address 49 of a table of 32 words"):
        read_calibration(folder)


def test_broken_table(folder: Path) -> None:
    (folder / ETA).write_text("nonsense\n")
    with pytest.raises(BadInput):
        read_calibration(folder)


def test_folder_without_tables(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="no table"):
        load_tables(tmp_path)
    with pytest.raises(BadConfig, match="not a folder"):
        load_tables(tmp_path / "absent")
    assert np.array_equal(packaged_tables().calibration.addend, packaged_calibration().addend)
