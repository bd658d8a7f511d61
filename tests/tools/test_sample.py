"""The packaged sample is what its generator makes, and reads back without a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scout40.streams.block import Block
from scout40.streams.formats.ugt import OBJECT_WORDS
from scout40.streams.sources import open_source
from scout40.streams.sources.base import Run
from scout40.tools.make_sample import BUNCHES, ORBITS, Generator, colliding_bx, sample_bytes
from scout40.tools.sample import Repeated


def test_packaged_bytes_are_reproducible(sample_file: Path) -> None:
    assert sample_file.read_bytes() == sample_bytes()


def test_another_seed_differs() -> None:
    assert sample_bytes(seed=41, orbits=1) != sample_bytes(orbits=1)


def test_sample_reads_clean(sample_file: Path) -> None:
    run = Run()
    source = open_source([str(sample_file)])
    rows = sum(len(block) for block in source.blocks(run))
    packets = run.ledger["packets"]
    assert (packets.received, packets.out, packets.pending) == (2 * ORBITS, 2 * ORBITS, 0)
    assert packets.bad.total() == 0
    assert source.total == 2 * ORBITS
    assert rows == ORBITS * BUNCHES  # sums make a row of every colliding crossing


def test_objects_are_those_of_the_generator(sample_block: Block) -> None:
    """Every hardware field survives packing, the file and unpacking (first orbit's muons)."""
    generator = Generator(40)
    expected = []
    for _ in colliding_bx():
        expected.append(generator.muons())
        hard = generator.rng.random() < 0.03
        jet, eg = generator.jets(hard), generator.clusters(3.0, 3.0, 2.6)
        generator.clusters(3.5, 6.0, 2.2)
        generator.sums(jet, eg)
    first = sample_block.take(0, BUNCHES).tables["mu"]
    for name in set(expected[0]) & set(OBJECT_WORDS["mu"].fields):
        values = np.concatenate([muons[name] for muons in expected])
        np.testing.assert_array_equal(first[name], values, err_msg=name)


def test_objects_are_sorted_and_in_range(sample_block: Block) -> None:
    for name in ("eg", "tau", "jet"):
        table = sample_block.tables[name]
        assert table.counts().max() <= 12
        same = np.repeat(np.arange(len(sample_block)), table.counts())
        inside = np.diff(same) == 0
        assert np.all(np.diff(table["hw_et"].astype(int))[inside] <= 0)


def test_repeated_goes_on_rising(sample_file: Path) -> None:
    run = Run()
    blocks = list(Repeated(sample_file, 3).blocks(run))
    assert [b.first_orbit for b in blocks[1:]] == [b.last_orbit for b in blocks[:-1]]
    assert sum(b.last_orbit - b.first_orbit for b in blocks) == 3 * ORBITS
    assert [b.origin.sequence for b in blocks] == list(range(len(blocks)))
    assert run.ledger["packets"].out == 6 * ORBITS
    for block in blocks:
        block.check()
