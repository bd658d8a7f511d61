"""A frame of the monitor as an SVG picture that needs nothing from the network."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

_RICH: str = inspect.signature(Console.export_svg).parameters["code_format"].default
FORMAT = re.sub(r"@font-face \{\{.*?\}\}", "", _RICH, flags=re.DOTALL)
"""rich's frame without its fonts, which it would load from a server."""


def write_svg(path: str | Path, lines: Sequence[Text], width: int, title: str) -> None:
    """Draw the frame into ``path``; the same frame gives the same bytes."""
    console = Console(
        file=io.StringIO(), record=True, width=width, height=max(1, len(lines)),
        force_terminal=True, color_system="standard", no_color=False, highlight=False,
    )  # fmt: skip
    for line in lines:
        console.print(line, soft_wrap=True)
    text = console.export_svg(title=title, code_format=FORMAT, unique_id="scout40-monitor")
    Path(path).write_text(text, encoding="utf-8")
