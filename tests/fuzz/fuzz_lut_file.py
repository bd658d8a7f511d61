"""Look-up table files in their four forms."""

from __future__ import annotations

import random
from pathlib import Path

from scout40.streams.lut_file import read_lut
from tests.fuzz.harness import Target, reference_files, written

COE = "memory_initialization_radix={};\nmemory_initialization_vector={};\n"


def seeds() -> list[bytes]:
    """Small tables in every form, and the small ones of the reference data."""
    values = [random.Random(1).getrandbits(5) for _ in range(32)]
    rows = "\n".join(f"{address} {value} # c" for address, value in enumerate(values))
    texts = [
        f"# a comment\n#<header> V1 5 5 </header>\n{rows}\n",
        "# LUT: a\nCONTENT_VECTOR= " + " ".join(map(str, values)),
        "; comment\n" + COE.format(16, ",\n".join(map("{:x}".format, values))),
        COE.format(2, " ".join(map("{:b}".format, values))),
        "\n".join(map("{:05b}".format, values)) + "\n",
    ]
    found = [text.encode() for text in texts]
    for suffix in ("txt", "lut", "coe", "mif"):
        pattern = f"ugmt_luts/**/AbsIso*.{suffix}"
        found += [path.read_bytes() for path in reference_files(pattern, most=4096)]
    return found


def parse(data: bytes) -> str:
    """The form is the one whose marks are left."""
    marks = {b"<header>": ".txt", b"memory_init": ".coe", b"CONTENT": ".lut"}
    suffix = next((suffix for mark, suffix in marks.items() if mark in data), ".mif")
    table = read_lut(Path(written(data, f"table{suffix}")))
    assert len(table.values) == 1 << table.n_in
    assert not (table.values >> table.n_out).any()
    return suffix[1:]


TARGET = Target("lut_file", seeds, parse, weight=5, text=True)
