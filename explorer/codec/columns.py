"""A table of a snapshot's text in columns: the lines of an array, taken apart and not decoded yet.

Every line is matched as a whole with what its fields may be (:mod:`.fields`): one that does not match is no part of
this. What stands for a field is kept as text, once for all rows that have the same, and becomes values when a column is
asked for.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

from explorer.model import Record

from .fields import FieldText, field_texts

__all__ = ("Layout", "TextTable", "layout_of")

#: Fields that few different values of stand behind each other: their texts are kept, and decoded, together with that of
#: the field before.
_WITH_THE_ONE_BEFORE = {
    "Task": {"state", "flags", "owner", "mnt_ns", "user_ns", "cgroup", "container"},
    "FsStruct": {"sharers", "in_exec", "seq", "unstable"},
}
#: Texts that few rows have in common are not looked for any more after so many rows.
_ENOUGH_ROWS = 4096
_SOME_ROWS = 64


class Layout:
    """How a line of one type is taken apart."""

    def __init__(self, record: type[Record], texts: dict[str, FieldText]) -> None:
        self.record = record
        self.texts = texts
        together = _WITH_THE_ONE_BEFORE.get(record.__name__, set())
        self.groups: list[list[str]] = []
        for name in texts:
            if name in together:
                self.groups[-1].append(name)
            else:
                self.groups.append([name])
        self.place = {name: place for place, group in enumerate(self.groups) for name in group}
        patterns: list[bytes] = []
        self.patterns: list[bytes] = []
        for group in self.groups:
            members = [b'"%s":%s' % (name.encode(), texts[name].pattern) for name in group]
            member, _, pattern = members[0].partition(b":")
            self.patterns.append(pattern if len(group) == 1 else b",".join(members))
            patterns.append(
                b"(" + b",".join(members) + b")" if len(group) > 1 else member + b":(" + pattern + b")"
            )
        self.lines = re.compile(rb"^\{" + b",".join(patterns) + rb"\},$", re.MULTILINE)
        """Of each line with its comma that is laid out so, the texts of the groups."""
        members = [b"%s" if len(group) > 1 else b'"%s":%%s' % group[0].encode() for group in self.groups]
        self.form = b"{" + b",".join(members) + b"}"
        """Makes the line, without its comma, of the texts again."""


@cache
def layout_of(record: type[Record]) -> Layout | None:
    """``None`` for records that are left to pydantic: a field has a type, or a check, that is not known here."""
    texts = field_texts(record)
    return None if texts is None or len(texts) < 2 else Layout(record, texts)


class TextTable(dict[str, Sequence[Any]]):
    """The texts of the groups, column by column; by field what was decoded."""

    __eq__ = object.__eq__

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        self.texts: list[list[bytes]] = [[] for _ in layout.groups]
        self.rows = 0
        self._known: list[dict[bytes, bytes] | None] = [{} for _ in layout.groups]
        self._asked: Counter[str] = Counter()
        self._decoded: dict[bytes, dict[bytes, tuple[Any, ...]]] = {}

    def __missing__(self, name: str) -> Sequence[Any]:
        """A column is decoded for whoever asks for some dozens of its values."""
        self._asked[name] += 1
        place = self.layout.place[name]
        if self.is_various(place) and self._asked[name] < _SOME_ROWS:
            return _OneByOne(self, place, name)
        return self.column(name)

    def column(self, name: str) -> list[Any]:
        """The values of a field of all rows."""
        if name not in self:
            self._decode(self.layout.place[name])
        return cast("list[Any]", self[name])

    def _decode(self, place: int) -> None:
        layout, texts, group = self.layout, self.texts[place], self.layout.groups[place]
        if len(group) == 1 and self.is_various(place):
            self[group[0]] = list(map(layout.texts[group[0]].of_text, texts))
            return
        decode = _decoder(layout, place)
        known = self._decoded.setdefault(
            layout.patterns[place], {}
        )  # two fields of a type have values in common
        known.update((text, decode(text)) for text in set(texts) - known.keys())
        for index, member in enumerate(group):
            values = {text: found[index] for text, found in known.items()}
            self[member] = list(map(values.__getitem__, texts))

    def add(self, found: list[tuple[bytes, ...]]) -> None:
        """Rows, as ``Layout.lines`` finds them."""
        self.rows += len(found)
        for place, texts in enumerate(zip(*found, strict=True)):
            known = self._known[place]
            if known is None:
                self.texts[place].extend(texts)
                continue
            self.texts[place].extend(map(known.setdefault, texts, texts))
            if self.rows > _ENOUGH_ROWS and len(known) > self.rows // 2:
                self._known[place] = None

    def members(self, row: int) -> dict[str, Any]:
        """Every field of one row."""
        found: dict[str, Any] = {}
        for place, group in enumerate(self.layout.groups):
            if group[0] in self or not self.is_various(place):
                found.update((name, self.column(name)[row]) for name in group)
            else:
                found.update(zip(group, self.decoded(place, row), strict=True))
        return found

    def decoded(self, place: int, row: int) -> tuple[Any, ...]:
        """The fields of one group, of one row."""
        return _decoder(self.layout, place)(self.texts[place][row])

    def is_various(self, place: int) -> bool:
        """Few rows have the text of a group in common."""
        return self._known[place] is None

    def lines(self, rows: slice) -> list[str]:
        """The text of some rows as it was read, which is how it is written."""
        form = self.layout.form
        return [(form % texts).decode() for texts in zip(*(each[rows] for each in self.texts), strict=True)]


class _OneByOne(Sequence[Any]):
    """A column of which only single values are asked for."""

    def __init__(self, table: TextTable, place: int, name: str) -> None:
        self._table, self._place = table, place
        self._index = table.layout.groups[place].index(name)

    def __len__(self) -> int:
        return self._table.rows

    def __getitem__(self, row: Any) -> Any:
        return self._table.decoded(self._place, row)[self._index]


@cache
def _decoder(layout: Layout, place: int) -> Callable[[bytes], tuple[Any, ...]]:
    """Makes the values of a group from its text."""
    group = layout.groups[place]
    if len(group) == 1:
        of_text = layout.texts[group[0]].of_text
        return lambda text: (of_text(text),)
    values = [layout.texts[name].value for name in group]

    def decode(text: bytes) -> tuple[Any, ...]:
        given = json.loads(b"{" + text + b"}")
        return tuple([value(each) for value, each in zip(values, given.values(), strict=True)])

    return decode
