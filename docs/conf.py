"""Sphinx settings; pages below `generated/` are written from the code before every build."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

import generate  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]

project = _project["name"]
author = "The scout40 developers"
copyright = f"2026, {author}"
release = version = _project["version"]

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
# Tables that pages include are no pages of their own.
include_patterns = [
    *("*.md", "decisions/*.md", "steps/*.md"),
    *("generated/commands.md", "generated/words/*.md"),
]
nitpicky = True
highlight_language = "none"
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"scout40 {release}"
html_static_path = ["_static"]
html_css_files = ["bits.css"]
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Write the generated pages when the build starts."""
    app.connect("builder-inited", lambda _: generate.write_all(DOCS / "generated"))
