"""``scout40 demo``: the packaged sample through unpack, menu, rules and rates."""

from __future__ import annotations

import click

from scout40.tools.command import (
    Stop,
    Task,
    finish,
    json_option,
    overwrite_option,
    threads_option,
)


@click.command(cls=Task, name="demo")
@click.option(
    "--orbits", type=click.IntRange(1, 10_000_000), default=2000, show_default=True,
    help="Orbits to process; the sample is repeated.",
)  # fmt: skip
@click.option("--live", "live", is_flag=True, help="A feed, a consumer and the monitor, live.")
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=20.0, show_default=True,
    help="With --live: how long.",
)  # fmt: skip
@click.option(
    "--out", "-o", type=click.Path(), help="Keep the output: a file, with --live a folder."
)
@overwrite_option
@threads_option
@json_option
def command(
    orbits: int, live: bool, seconds: float, out: str | None, overwrite: bool,
    threads: int | None, json_output: bool,
) -> None:  # fmt: skip
    """Run a small synthetic sample through the whole chain. No file is needed.

    The first run compiles kernels, which takes a while; later runs find them in the cache.
    """
    if live:
        from scout40.tools.demo_live import run

        raise SystemExit(run(seconds, out, json_output))
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    from scout40.tools.job import emulate
    from scout40.tools.make_sample import ORBITS
    from scout40.tools.sample import Repeated, demo_menu, sample_path
    from scout40.tools.show import Live
    from scout40.tools.show_rates import emulation

    with (
        Stop() as stop,
        Live("demo") as progress,
        tempfile.TemporaryDirectory(prefix="scout40-demo-") as folder,
        sample_path() as path,
    ):
        result = emulate(
            Repeated(path, -(-orbits // ORBITS)),
            demo_menu(),
            out=out or Path(folder) / "demo.parquet",
            overwrite=overwrite,
            threads=threads,
            stop=stop,
            progress=progress,
        )
    outputs = result.receipt.outputs if out else ()
    result.receipt = replace(result.receipt, command="demo", outputs=outputs)
    finish(result, json_output, emulation)


def self_test() -> str:
    """The demo menu on the sample: compiled decisions must equal those of plain NumPy."""
    from scout40.streams.block import concatenate
    from scout40.streams.sources import open_source
    from scout40.streams.sources.base import Run
    from scout40.tools.bench_menu import check_equal
    from scout40.tools.bench_numpy import NumpyMenu
    from scout40.tools.sample import demo_menu, sample_path

    with sample_path() as path:
        block = concatenate(open_source([str(path)]).blocks(Run()))
    menu = demo_menu()
    algorithms = check_equal(menu.compile(), NumpyMenu(menu), block)
    return f"{len(algorithms)} algorithms equal in {len(block)} crossings"
