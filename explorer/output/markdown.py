"""Tables as GitHub-flavoured Markdown in which no text from a kernel is markup, HTML, a link or a mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from .files import open_output
from .table import Table

__all__ = ("escape_markdown", "print_markdown", "write_markdown")

_ESCAPES = {char: f"\\{char}" for char in "\\`*_[]~|"} | {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": "&#64;",
}
_SPECIAL = re.compile(r"[\\`*_\[\]~|&<>@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
#: What begins a block of its own at the start of a line.
_BLOCK, _ESCAPED = re.compile(r"^(?=[#+=-])|(?<=^\d)(?=[.)])"), r"\\"
#: What GitHub turns into links by itself.
_LINKS = {":": "&#58;", ".": "&#46;"}


def escape_markdown(text: str) -> str:
    """Escaped kernel text (one line) so that Markdown shows it as it is, in a table's cell as anywhere."""
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0]) or _LINKS[found[0]], text)


def print_markdown(title: str, table: Table, about: Sequence[str] = ()) -> None:
    """Print a table, whole, whatever the width of the terminal. :param about: escaped lines, a list above it"""
    with open_output(None) as out:
        write_markdown(title, [column.title for column in table.columns], table.rows, out, about)


def write_markdown(
    title: str,
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    out: BinaryIO,
    about: Sequence[str] = (),
) -> int:
    """Write a heading, what it is about, and a table, UTF-8; text must be escaped for a terminal already.

    Returns how many rows.
    """
    above = [*(f"- {_BLOCK.sub(_ESCAPED, escape_markdown(line))}" for line in about), ""] if about else []
    lines = [
        f"# {escape_markdown(title)}",
        "",
        *above,
        _line(header),
        _line(["---"] * len(header), plain=True),
    ]
    out.write(("\n".join(lines) + "\n").encode())
    count = 0
    for row in rows:
        out.write(f"{_line(row)}\n".encode())
        count += 1
    return count


def _line(cells: Sequence[str], plain: bool = False) -> str:
    return f"| {' | '.join(cells if plain else map(escape_markdown, cells))} |"
