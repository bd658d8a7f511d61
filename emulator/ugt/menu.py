"""Menus from files: the reader is chosen by looking at the content."""

from __future__ import annotations

import codecs
from pathlib import Path

from scout40.emulator.ugt.assemble import MenuText
from scout40.emulator.ugt.model import Menu
from scout40.emulator.ugt.read_extract import read_extract
from scout40.emulator.ugt.read_toml import read_toml
from scout40.emulator.ugt.read_xml import read_xml
from scout40.streams.errors import BadConfig

MAX_BYTES = 64 << 20  # public XML menus have up to 8 MB
ACCEPTED = "an official XML menu, a JSON extract of one, or a TOML menu of scout40"


def load_menu(path: str | Path) -> Menu:
    """The menu in an XML, JSON or TOML file of at most 64 MB.

    Errors: `BadConfig`, and nothing else, for whatever is wrong with the file.
    """
    file = Path(path)
    try:
        if not file.is_file():
            raise BadConfig(f"{file}: no such menu file; accepted: {ACCEPTED}")
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        raise BadConfig(f"{file}: cannot be read: {error}") from None
    if len(data) > MAX_BYTES:
        raise BadConfig(f"{file}: larger than {MAX_BYTES >> 20} MB, the most a menu may have")
    return read_menu(MenuText(file.name, data))


def read_menu(text: MenuText) -> Menu:
    """The menu in the bytes of a file: ``<`` starts XML, ``{`` JSON, other text is TOML."""
    start = text.data[:4096]
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return read_xml(text)  # of the three, only XML can say that it is UTF-16
    start = start.removeprefix(codecs.BOM_UTF8).lstrip()
    if not start:
        raise BadConfig(f"{text.file}: empty file; accepted: {ACCEPTED}")
    if start.startswith(b"<"):
        return read_xml(text)
    if start.startswith(b"{"):
        return read_extract(text)
    if b"\0" in start:
        raise BadConfig(f"{text.file}: binary data; accepted: {ACCEPTED}")
    return read_toml(text)
