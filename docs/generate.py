"""Pages made from the code: hardware words, the menu language, versions, commands, pictures.

`write_all` is called by `conf.py`; `python docs/generate.py FOLDER` writes them by hand.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
import shutil
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pictures

from scout40.emulator.ugmt import propagation
from scout40.emulator.ugmt.firmware import FIRMWARES, Ellipse, Extrapolation
from scout40.emulator.ugt import grammar, read_toml
from scout40.streams import formats, wire
from scout40.streams.formats import frd
from scout40.streams.formats.wire import WireHeader
from scout40.streams.json_record import OneOf, Within
from scout40.streams.layout import Word
from scout40.streams.sources import branch_map
from scout40.tools import live_config
from scout40.tools.cli import group


def write_all(folder: Path) -> None:
    """Write every generated page below `folder`, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "words").mkdir(parents=True)
    for name, text in word_pages():
        (folder / "words" / f"{name}.md").write_text(text)
    (folder / "commands.md").write_text(commands_page())
    (folder / "functions.md").write_text(functions_table())
    (folder / "cuts.md").write_text(cuts_table())
    (folder / "toml_menu.md").write_text(inspect.cleandoc(read_toml.__doc__ or "") + "\n")
    (folder / "branch_map.md").write_text(inspect.cleandoc(branch_map.__doc__ or "") + "\n")
    (folder / "source_ids.md").write_text(source_ids_table())
    (folder / "wire_header.md").write_text(wire_header_table())
    (folder / "wire_reasons.md").write_text(wire_reasons_table())
    (folder / "pipeline.md").write_text(pipeline_tables())
    (folder / "ugmt_firmware.md").write_text(firmware_table())
    (folder / "propagation.md").write_text(agreement_table())
    pictures.write_all(folder / "pictures")


def pipeline_tables() -> str:
    """Every section of a pipeline file: what its keys mean, then keys, defaults and bounds."""
    parts = []
    for section in dataclasses.fields(live_config.Pipeline):
        kind = type(getattr(live_config.Pipeline(), section.name))
        hints = typing.get_type_hints(kind, include_extras=True)
        _, *meaning = paragraphs(kind.__doc__ or "")
        keys = "|".join(key.name for key in dataclasses.fields(kind))
        meaning = [re.sub(rf"^({keys}): ", r"- `\1`: ", text, flags=re.M) for text in meaning]
        rows = [
            f"| `{key.name}` | `{_toml(getattr(kind(), key.name))}` | {_allowed(hints[key.name])} |"
            for key in dataclasses.fields(kind)
        ]
        head = "| key | default | allowed |\n| --- | --- | --- |\n"
        parts += [f"**[{section.name}]**", *meaning, head + "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _toml(value: object) -> str:
    """A default as it would stand in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    return "[]" if value == () else f'"{value}"' if isinstance(value, str) else f"{value:g}"


def _allowed(hint: object) -> str:
    """Bounds or words of a declared type."""
    for rule in typing.get_args(hint):
        if isinstance(rule, OneOf):
            return ", ".join(rule.words)
        if isinstance(rule, Within):
            return " to ".join(f"{bound:,}" for bound in (rule.low, rule.high))
    return "text" if hint is str else "true, false" if hint is bool else "list of texts"


def word_pages() -> Iterator[tuple[str, str]]:
    """(file stem, Markdown) for every module of formats that declares words."""
    for found in pkgutil.iter_modules(formats.__path__):
        module = importlib.import_module(f"{formats.__name__}.{found.name}")
        words = declared_words(module)
        if words:
            head = paragraphs(module.__doc__ or found.name)
            title, *rest = head
            sections = [f"# {title.rstrip('.')}", *rest, f"Declared in `{module.__name__}`."]
            sections += [word.markdown() for word in words]
            yield found.name, "\n\n".join(sections) + "\n"


def declared_words(module: ModuleType) -> list[type[Word]]:
    """Words declared in this module, in the order of the file."""
    return [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing)
        and issubclass(thing, Word)
        and thing.__module__ == module.__name__
        and thing.fields
    ]


def paragraphs(text: str) -> list[str]:
    """Paragraphs of a docstring, without its indentation."""
    return [part.strip() for part in inspect.cleandoc(text).split("\n\n") if part.strip()]


def source_ids_table() -> str:
    """Source ids of raw files and the form of their packets."""
    rows = [f"| {source} | {kind} |" for source, kind in frd.SOURCE_KINDS.items()]
    return "\n".join(["| source id | packets |", "| --- | --- |", *rows]) + "\n"


def wire_header_table() -> str:
    """Bytes of the header of a message; the halves of a 64-bit number are one row."""
    rows = ["| byte | type | field | meaning |", "| --- | --- | --- | --- |"]
    for bits in WireHeader.fields.values():
        if not bits.name.endswith("_high"):
            name, place = bits.name.removesuffix("_low"), 4 * bits.word + bits.lo // 8
            width = bits.width if name == bits.name else 64
            meaning = bits.doc.removesuffix(", low half")
            rows.append(f"| {place} | u{width} | `{name}` | {meaning} |")
    return "\n".join(rows) + "\n"


def wire_reasons_table() -> str:
    """Why a message is refused."""
    rows = [f"| {reason} | {meaning} |" for reason, meaning in wire.REASONS.items()]
    return "\n".join(["| reason | meaning |", "| --- | --- |", *rows]) + "\n"


def functions_table() -> str:
    """Functions of the menu language, for the page that includes it."""
    rows = [
        "| function | objects | types | cuts | needs one of |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, function in grammar.FUNCTIONS.items():
        low, high = function.objects
        count = str(low) if low == high else f"{low} to {high}"
        lists = [", ".join(names) for names in (function.types, function.cuts, function.needs)]
        rows.append(f"| `{name}` | {count} | {' | '.join(lists)} |")
    return "\n".join(rows) + "\n"


def cuts_table() -> str:
    """Object types of the menu language and the cuts that each accepts."""
    rows = ["| object | cuts |", "| --- | --- |"]
    for name in grammar.OBJECTS:
        rows.append(f"| `{name}` | {', '.join(grammar.OBJECT_CUTS.get(name, ()))} |")
    return "\n".join(rows) + "\n"


def firmware_table() -> str:
    """What each version of the global muon trigger does, from its declarations."""
    names = [field.name for field in dataclasses.fields(next(iter(FIRMWARES.values())))]
    rows = [
        f"| | {' | '.join(FIRMWARES)} |",
        "| --- |" + " --- |" * len(FIRMWARES),
    ]
    for name in names[1:]:  # the first is the version's own name
        values = [getattr(firmware, name) for firmware in FIRMWARES.values()]
        shown = (hex(value) if name == "first" else setting(value) for value in values)
        rows.append(f"| `{name}` | {' | '.join(shown)} |")
    return "\n".join(rows) + "\n"


def setting(value: object) -> str:
    """One value of a version in a table cell."""
    if isinstance(value, Ellipse):
        return f"{value.max_dr:g}; {value.eta_factor:g}, {value.phi_factor:g}"
    if isinstance(value, Extrapolation):
        return f"{value.eta_bits} + {value.pt_bits}, {value.phi_bits} << {value.phi_shift}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def agreement_table() -> str:
    """The comparison of the computed extrapolation with the official tables."""
    lines = (propagation.__doc__ or "").splitlines()
    first, _, last = (n for n, line in enumerate(lines) if line.startswith("==="))
    table = [re.split(r" {2,}", line) for line in (lines[first + 1], *lines[first + 3 : last])]
    cells = [f"| {' | '.join(cell(part) for part in row)} |" for row in table]
    return "\n".join([cells[0], "| --- |" + " --- |" * (len(table[0]) - 1), *cells[1:]]) + "\n"


def commands_page() -> str:
    """Every command of the program: usage, help text, arguments and options."""
    context = click.Context(group, info_name="scout40")
    sections = ["# Command reference", *help_text(group.help), *help_text(group.epilog)]
    for name in sorted(group.list_commands(context)):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            sections.append(command_section(command, f"scout40 {name}"))
        if isinstance(command, click.Group):
            sections += [
                command_section(part, f"scout40 {name} {word}")
                for word, part in sorted(command.commands.items())
            ]
    return "\n\n".join(sections) + "\n"


def command_section(command: click.Command, name: str) -> str:
    """Markdown section of one command."""
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", f"```text\n{usage}\n```", *help_text(command.help)]
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [f"| `{left}` | {cell(right)} |" for left, right in filter(None, records)]
    if rows:
        parts.append("\n".join(["| option | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join([*parts, *help_text(command.epilog)])


def help_text(text: str | None) -> list[str]:
    """Paragraphs of a click help text; those that click must not re-wrap become code blocks."""
    parts = []
    for part in paragraphs((text or "").partition("\f")[0]):
        verbatim = part.startswith("\b")
        parts.append(f"```text\n{part[1:].strip(chr(10))}\n```" if verbatim else part)
    return parts


def cell(text: str) -> str:
    """Text for a table cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
