"""A table of a snapshot's text in columns: the lines of an array, taken apart and not decoded yet.

Every line is matched as a whole with what its fields may be (:mod:`.fields`): one that does not match is no part of
this. What stands for a field is kept as text, once for all rows that have the same, and becomes values when a column is
asked for.
"""

from __future__ import annotations

import json
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from itertools import count
from typing import Any, Self, TypeVar, cast

from explorer.model import Record

from .fields import FieldText, field_texts

__all__ = ("Layout", "TextColumn", "TextTable", "layout_of")

_ValueT = TypeVar("_ValueT")
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
        self._line = b",".join(patterns)
        members = [b"%s" if len(group) > 1 else b'"%s":%%s' % group[0].encode() for group in self.groups]
        self.form = b"{" + b",".join(members) + b"}"
        """Makes the line, without its comma, of the texts again."""

    @cached_property
    def lines(self) -> re.Pattern[bytes]:
        """Of each line with its comma that is laid out so, the texts of the groups."""
        return re.compile(rb"^\{" + self._line + rb"\},$", re.MULTILINE)


@cache
def layout_of(record: type[Record]) -> Layout | None:
    """``None`` for records that are left to pydantic: a field has a type, or a check, that is not known here."""
    texts = field_texts(record)
    return None if texts is None or len(texts) < 2 else Layout(record, texts)


class TextColumn:
    """The texts of one group of fields, by row: of those that several rows have in common, each once."""

    def __init__(self) -> None:
        self.numbers: array[int] | None = array("I")
        """By row, which of the different texts it has; ``None``: each row has one of its own, in order."""
        self._known = defaultdict[bytes, int](count().__next__)  # a text that is new gets the next number
        self._texts: list[bytes] = []
        self._joined = b""

    @classmethod
    def of_joined(cls, joined: bytes, numbers: array[int] | None) -> Self:
        """One to which no rows are added. :param joined: as :meth:`joined` gives them"""
        column = cls()
        column.numbers, column._joined = numbers, joined
        return column

    def joined(self) -> bytes:
        """The different texts, a line each."""
        return b"\n".join(self.different)

    @property
    def is_various(self) -> bool:
        """Few rows have a text in common."""
        return self.numbers is None

    @property
    def different(self) -> list[bytes]:
        """Each text once; of a various column, that of each row."""
        if len(self._texts) < len(self._known):
            self._texts = list(self._known)
        elif self._joined:
            self._texts, self._joined = self._joined.split(b"\n"), b""
        return self._texts

    def add(self, texts: Sequence[bytes]) -> None:
        if self.numbers is None:
            self._texts.extend(texts)
            return
        self.numbers.extend(map(self._known.__getitem__, texts))
        rows = len(self.numbers)
        if rows > _ENOUGH_ROWS and len(self._known) > rows // 2:
            self._texts = self.of_rows(slice(None))
            self.numbers = None
            self._known.clear()

    def of_row(self, row: int) -> bytes:
        return self.different[row if self.numbers is None else self.numbers[row]]

    def of_rows(self, rows: slice) -> list[bytes]:
        return self.each(self.different, rows)

    def each(self, values: list[_ValueT], rows: slice = slice(None)) -> list[_ValueT]:
        """By row, of what belongs to each of the :attr:`different` texts."""
        return values[rows] if self.numbers is None else list(map(values.__getitem__, self.numbers[rows]))


class TextTable(dict[str, Sequence[Any]]):
    """The texts of the groups, column by column; by field what was decoded."""

    __eq__ = object.__eq__

    def __init__(self, layout: Layout, texts: list[TextColumn] | None = None, rows: int = 0) -> None:
        super().__init__()
        self.layout = layout
        self.texts = [TextColumn() for _ in layout.groups] if texts is None else texts
        self.rows = rows
        self.order: Sequence[int] = ()
        self._asked: Counter[str] = Counter()
        self._decoded: dict[bytes, dict[bytes, tuple[Any, ...]]] = {}
        self._last: dict[bytes, tuple[list[bytes], list[Any]]] = {}

    def __missing__(self, name: str) -> Sequence[Any]:
        """A column is decoded for whoever asks for some dozens of its values."""
        self._asked[name] += 1
        place = self.layout.place[name]
        if self.texts[place].is_various and self._asked[name] < _SOME_ROWS:
            return _OneByOne(self, place, name)
        return self.column(name)

    def column(self, name: str) -> list[Any]:
        """The values of a field of all rows."""
        if name not in self:
            place = self.layout.place[name]
            self[name] = self.texts[place].each(self._values(place, name))
        return cast("list[Any]", self[name])

    def _values(self, place: int, name: str) -> list[Any]:
        """What a field of a group is, of each of the group's different texts."""
        layout, texts, group = self.layout, self.texts[place].different, self.layout.groups[place]
        if len(group) == 1 and not layout.texts[name].of_record:
            # Of two fields of a type, such as the addresses of real_fs and fs, all may be the same.
            known, values = self._last.get(layout.patterns[place], ([], []))
            if texts != known:
                values = layout.texts[name].of_texts(texts)
                self._last[layout.patterns[place]] = texts, values
            return values
        # Two fields may have records in common.
        decoded = self._decoded.setdefault(layout.patterns[place], {})
        new = [text for text in texts if text not in decoded]
        decoded.update(zip(new, _decoder(layout, place)(new), strict=True))
        index = group.index(name)
        return [decoded[text][index] for text in texts]

    def add(self, found: list[tuple[bytes, ...]]) -> None:
        """Rows, as ``Layout.lines`` finds them."""
        self.rows += len(found)
        for column, texts in zip(self.texts, zip(*found, strict=True), strict=True):
            column.add(texts)

    def members(self, row: int) -> dict[str, Any]:
        """Every field of one row."""
        found: dict[str, Any] = {}
        for place, group in enumerate(self.layout.groups):
            if group[0] in self or not self.texts[place].is_various:
                found.update((name, self.column(name)[row]) for name in group)
            else:
                found.update(zip(group, self.decoded(place, row), strict=True))
        return found

    def decoded(self, place: int, row: int) -> tuple[Any, ...]:
        """The fields of one group, of one row."""
        return _decoder(self.layout, place)([self.texts[place].of_row(row)])[0]

    def lines(self, rows: slice) -> list[str]:
        """The text of some rows as it was read, which is how it is written."""
        form = self.layout.form
        texts = zip(*(column.of_rows(rows) for column in self.texts), strict=True)
        return [(form % each).decode() for each in texts]


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
def _decoder(layout: Layout, place: int) -> Callable[[list[bytes]], list[tuple[Any, ...]]]:
    """Makes the values of a group from each of its texts."""
    group = layout.groups[place]
    if len(group) == 1:
        of_texts = layout.texts[group[0]].of_texts
        return lambda texts: list(zip(of_texts(texts), strict=True))
    values = [layout.texts[name].value for name in group]

    def decode(text: bytes) -> tuple[Any, ...]:
        given = json.loads(b"{" + text + b"}")
        return tuple([value(each) for value, each in zip(values, given.values(), strict=True)])

    return lambda texts: list(map(decode, texts))
