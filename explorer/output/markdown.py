"""Tables as GitHub-flavoured Markdown in which no text from a kernel is markup, HTML, a link or a mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import BinaryIO

__all__ = ("escape_markdown", "write_markdown")

_ESCAPES = {char: f"\\{char}" for char in "\\`*_[]~|"} | {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    "@": "&#64;",
}
_SPECIAL = re.compile(r"[\\`*_\[\]~|&<>@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
#: What GitHub turns into links by itself.
_LINKS = {":": "&#58;", ".": "&#46;"}


def escape_markdown(text: str) -> str:
    """Escaped kernel text (one line) so that Markdown shows it as it is, in a table's cell as anywhere."""
    return _SPECIAL.sub(lambda found: _ESCAPES.get(found[0]) or _LINKS[found[0]], text)


def write_markdown(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], out: BinaryIO) -> int:
    """Write a heading and a table, UTF-8; cells must be escaped for a terminal already. Returns how many rows."""
    lines = [f"# {escape_markdown(title)}", "", _line(header), _line(["---"] * len(header), plain=True)]
    out.write(("\n".join(lines) + "\n").encode())
    count = 0
    for row in rows:
        out.write(f"{_line(row)}\n".encode())
        count += 1
    return count


def _line(cells: Sequence[str], plain: bool = False) -> str:
    return f"| {' | '.join(cells if plain else map(escape_markdown, cells))} |"
