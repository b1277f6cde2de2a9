"""Rows of any table, asked in the query language of tasks: a field for each column, and free text over all cells.

A column is compared as it is shown, unless it says what number it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .ast import And, Comparison, Everything, Flag, Node, Not, Or, Text
from .facts import FieldType, Value
from .index import Column, Mask, MaskIndex, coded
from .match import field_name, text_matcher, value_test, without_not_equal
from .parse import Query

__all__ = ("RowField", "RowIndex", "row_predicate")

#: Rows that are made into text between two pauses.
_CHUNK = 500
_ASCII = re.compile(r"[\x00-\x7f]+")
_DIGITS = re.compile(r"([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class RowField:
    """A column, as queries and orders have it."""

    name: str
    """A word in lower case."""
    type: FieldType = FieldType.TEXT
    get: Callable[[Any], Value] | None = None
    """The value that a record has for it; ``None``: the text of the cell."""
    order: Callable[[Any], Any] | None = None
    """What a record is ordered by, where that is not its value."""
    choices: tuple[str, ...] = ()
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other words than these, and what each stands for."""


class _Shown(Column):
    """A column of texts that are escaped already; several cells in one stand in a line each."""

    @cached_property
    def texts(self) -> list[tuple[str, ...]]:
        return [tuple(text.split("\n")) if text else () for text in self.values]

    @cached_property
    def _lowered(self) -> list[str | None]:
        """As of any column; signs that have no case, as our own, are no reason to ask cell by cell."""
        return [
            text.lower() if text and (text.isascii() or _has_no_case(_ASCII.sub("", text))) else None
            for text in self.values
        ]


def _has_no_case(text: str) -> bool:
    return text.lower() == text == text.upper() == text.casefold()


class RowIndex(MaskIndex):
    """The columns of one table. Text is made of its rows once, when the first query or order asks for it."""

    def __init__(
        self, fields: Sequence[RowField], records: Sequence[Any], cells: Callable[[Any], Sequence[str]]
    ) -> None:
        """
        :param fields: one a column, then such as have a value of their own and no column
        :param cells: the escaped text of each column of a record
        """
        self._named = {field.name: field for field in fields}
        super().__init__(self._named)
        self._places = {field.name: place for place, field in enumerate(fields)}
        self._records, self._cells = records, cells
        self._columns: dict[str, Column] = {}
        self._orders: dict[tuple[str, bool], list[int]] = {}
        self._ranked: dict[str, list[int]] = {}

    @cached_property
    def everything(self) -> Mask:
        return b"\1" * len(self._records)

    @cached_property
    def _texts(self) -> tuple[list[Column], Column]:
        """A column of texts for each of the table's, and one of all cells together, a line each."""
        return self._make_texts(lambda: None)

    def warm_up(self, between: Callable[[], None]) -> None:
        """Make what queries need before one is typed. :param between: called before every part of the work"""
        if "_texts" not in self.__dict__:
            made = self._make_texts(between)
            self.__dict__.setdefault("_texts", made)
            between()
            made[1].holding("\0")
        for name in self._named:
            between()
            self._ranks(name)
            between()
            self.offers(name)

    def _make_texts(self, between: Callable[[], None]) -> tuple[list[Column], Column]:
        places: list[dict[str, int]] = [{} for _ in self._places]
        codes: list[list[int]] = [[] for _ in self._places]
        lines: list[str] = []
        columns = list(zip(places, codes, strict=True))
        for start in range(0, len(self._records), _CHUNK):
            between()
            for record in self._records[start : start + _CHUNK]:
                texts = [text.strip() for text in self._cells(record)]
                lines.append("\n".join(texts))
                for (known, mine), text in zip(columns, texts, strict=False):
                    mine.append(known.setdefault(text, len(known)))
        return [_Shown(list(known), mine) for known, mine in columns], _Shown(lines, range(len(lines)))

    def column(self, name: str) -> Column:
        field = self._named[name]
        column = self._columns.get(field.name)
        if column is None:
            get = field.get
            column = (
                self._texts[0][self._places[field.name]]
                if get is None
                else coded([get(r) for r in self._records])
            )
            self._columns[field.name] = column
        return column

    def _text(self, text: str) -> Mask:
        return self._texts[1].holding(text)

    # -- order -----------------------------------------------------------------------------------------------

    def order(self, name: str, descending: bool) -> list[int]:
        """The places of all records, ordered by a field; equals stay as they are, what has no value comes last."""
        found = self._orders.get((name, descending))
        if found is None:
            ranks = self._ranks(name)
            last = max(ranks, default=0) + 1
            keys = [(-rank if descending else rank) if rank >= 0 else last for rank in ranks]
            found = self._orders[name, descending] = sorted(range(len(keys)), key=keys.__getitem__)
        return found

    def _ranks(self, name: str) -> list[int]:
        """The rank of each record's value among those of the field; -1: it has none."""
        if name not in self._ranked:
            self._ranked[name] = self._rank(self._named[name])
        return self._ranked[name]

    def _rank(self, field: RowField) -> list[int]:
        order = field.order
        if order is not None:
            column = coded([order(record) for record in self._records])
            keys: list[Any] = list(column.values)
        else:
            column = self.column(field.name)
            numbers = field.get is not None and field.type is not FieldType.TEXT
            keys = [
                value if numbers else _natural(column.texts[code]) for code, value in enumerate(column.values)
            ]
        present = {key for key in keys if key not in (None, ())}
        rank = {key: number for number, key in enumerate(sorted(present))}
        by_code = [rank.get(key, -1) for key in keys]
        return [by_code[code] for code in column.codes]


def row_predicate(
    query: Query, fields: Mapping[str, RowField], cells: Callable[[Any], Sequence[str]]
) -> Callable[[Any], bool]:
    """The query as a predicate over records that come one by one, and are not kept.

    :param fields: each with a ``get``
    :param cells: the escaped texts of a record in which free text is looked for
    """

    def compiled(node: Node) -> Callable[[Any], bool]:
        match node:
            case Everything():
                return lambda record: True
            case Text(text):
                matches = text_matcher("~", text)
                return lambda record: any(map(matches, cells(record)))
            case Comparison() if (equal := without_not_equal(node)) is not None:
                return compiled(Not(equal))
            case Flag() | Comparison():
                field = fields[field_name(node)]
                test, get = value_test(node, field, {}), field.get
                assert get is not None, f"{field.name} has no value"
                return lambda record: test(get(record))
            case Not(operand):
                inner = compiled(operand)
                return lambda record: not inner(record)
            case And(operands):
                every = tuple(map(compiled, operands))
                return lambda record: all(predicate(record) for predicate in every)
            case Or(operands):
                some = tuple(map(compiled, operands))
                return lambda record: any(predicate(record) for predicate in some)

    return compiled(query.root)


def _natural(texts: Sequence[str]) -> tuple[Any, ...]:
    """Text as people order it: ``rootfs#9`` before ``rootfs#10``, in any case of letters."""
    if not texts:
        return ()
    parts = _DIGITS.split(texts[0].casefold())
    return tuple((int(part), "") if place % 2 else (-1, part) for place, part in enumerate(parts))
