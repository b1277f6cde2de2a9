"""``--until``: a condition on a whole snapshot, in the query language of tasks. Pure functions.

A query holds of a snapshot if any task matches it: ``pid:1 comm:systemd``, ``borrowing``. ``task(1).comm == "systemd"``
is the same as ``pid:1 comm:systemd``. Where a condition names a task so, its parts between ``and`` and ``or`` are
queries of their own, each about any task: ``task(1).comm == init and borrowing``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from explorer.model import Snapshot

from .facts import FIELDS, FieldType, find_field
from .parse import Query, QueryError, parse_query

__all__ = ("Condition", "parse_condition")

_TASK = re.compile(r"task\(\s*(\d{1,10})\s*\)\s*\.\s*")
_COMPARISON = re.compile(r"[\w.]+\s*[:=!<>~]")
#: What is passed over whole in search of ``and`` and ``or``: quotes, ``task(N)``, and other parentheses.
_TOKEN = re.compile(
    r""""[^"]*"|'[^']*'|task\(\s*\d+\s*\)|[()]|\s+(?:and|or)\s+|.""", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Condition:
    """Alternatives, each a list of queries that must all hold; ``str()`` is what the user wrote."""

    text: str
    alternatives: tuple[tuple[Query, ...], ...]

    def __str__(self) -> str:
        return self.text

    def holds(self, snapshot: Snapshot) -> bool:
        """Whether the snapshot is as the condition says."""
        return any(
            all(any(map(query.bind(snapshot), snapshot.tasks)) for query in queries)
            for queries in self.alternatives
        )


def parse_condition(text: str) -> Condition:
    """Parse and check a condition.

    :raises QueryError: and nothing else; its position is one in the part of ``text`` that is wrong
    """
    if not text.strip():
        raise QueryError(text, 0, "an empty condition is always true: say for what to wait")
    parts = _split(text) if "task(" in text else [[text]]
    return Condition(text, tuple(tuple(parse_query(_as_query(piece)) for piece in part) for part in parts))


def _split(text: str) -> list[list[str]]:
    """The pieces between ``or``, and in each of them those between ``and``; not within quotes or parentheses."""
    parts, depth = [[""]], 0
    for token in _TOKEN.findall(text):
        word = token.strip().lower()
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and word == "or":
            parts.append([""])
        elif depth == 0 and word == "and":
            parts[-1].append("")
        else:
            parts[-1][-1] += token
    return parts


def _as_query(piece: str) -> str:
    """``task(1).comm == "x"`` as ``pid:1 comm == "x"``; what does not begin so stays as it is."""
    piece = piece.strip()
    match = _TASK.match(piece)
    if match is None:
        return piece
    rest = piece[match.end() :]
    field = find_field(rest.split(maxsplit=1)[0], FIELDS) if rest else None
    if not _COMPARISON.match(rest) and (field is None or field.type is not FieldType.FLAG):
        raise QueryError(piece, match.end(), "a field and a comparison must follow, such as comm == systemd")
    return f"pid:{match[1]} {rest}"
