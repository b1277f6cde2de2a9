"""Decides a query for all tasks of a snapshot at once: what a screen needs that filters 100,000 tasks at every key.

A field becomes a *column*: its distinct values, and for each task a code, the place of its value among them. A
comparison is decided once a value; which tasks it selects is a *mask*, one byte a task, 0 or 1. Masks are combined as
whole numbers. Nothing here is quicker to be wrong than :mod:`explorer.analysis.query.match`: the tests of leaves are
the same functions.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain, compress
from typing import Any

from explorer.analysis import tasks_at
from explorer.model import Snapshot, Task

from .ast import And, Comparison, Everything, Flag, Node, Not, Or, Text
from .facts import FIELDS, FREE_TEXT_FIELDS, Field, FieldType, QueryField, Scope, shown
from .match import (
    chosen,
    field_name,
    holds_in_order,
    named_addresses,
    plain_pieces,
    text_matcher,
    value_test,
    without_not_equal,
)

__all__ = ("Column", "Mask", "MaskIndex", "TaskIndex", "coded", "selected")

#: One byte a task: 1 where it is selected.
Mask = bytes

_MAX_BYTE = 256
_WILD = re.compile(r"[*?]")
#: Masks of leaves that are kept: a query being typed changes its last term only.
_KEPT_MASKS = 32


def selected(mask: Mask) -> list[int]:
    """The places of the tasks that a mask selects, in order."""
    return list(compress(range(len(mask)), mask))


class Column:
    """Distinct values, and which of them each task has."""

    def __init__(self, values: Sequence[Any], codes: Sequence[int]) -> None:
        self.values = values
        self.codes: Sequence[int] = bytes(codes) if len(values) <= _MAX_BYTE else codes
        """For each task a place in :attr:`values`; bytes where they fit."""

    @cached_property
    def texts(self) -> list[tuple[str, ...]]:
        """The values as text comparisons see them."""
        return [shown(value) for value in self.values]

    @cached_property
    def _lowered(self) -> list[str | None]:
        """The texts of a value in one, in lower case; ``None`` where there is none, or not all is ASCII.

        No escaped text holds the newline between them.
        """
        joined = ["\n".join(texts) if texts else None for texts in self.texts]
        return [None if text is None or not text.isascii() else text.lower() for text in joined]

    def spread(self, answers: Sequence[bool]) -> Mask:
        """An answer a value becomes a mask."""
        table = bytes(answers)
        if isinstance(self.codes, bytes):
            return self.codes.translate(table.ljust(_MAX_BYTE, b"\0"))
        return bytes(map(table.__getitem__, self.codes))

    def holding(self, pattern: str) -> Mask:
        """Where a text matches ``~ pattern``."""
        matches, pieces = text_matcher("~", pattern), plain_pieces(pattern)
        if pieces is None:
            return self.spread([any(map(matches, texts)) for texts in self.texts])
        if len(pieces) > 1:
            holds = holds_in_order(pieces)
            answers = [
                any(map(matches, texts)) if text is None or "\n" in text else holds(text)
                for text, texts in zip(self._lowered, self.texts, strict=True)
            ]
        else:
            piece = pieces[0] if pieces else ""
            answers = [
                piece in text if text is not None else any(map(matches, texts))
                for text, texts in zip(self._lowered, self.texts, strict=True)
            ]
        return self.spread(answers)

    def counts(self, mask: Mask) -> dict[Any, int]:
        """How many selected tasks have each value; values that none of them has are left out."""
        numbers = [0] * len(self.values)
        if isinstance(self.codes, bytes):
            chosen = bytes(compress(self.codes, mask))
            numbers = [chosen.count(code) for code in range(len(self.values))]
        else:
            for code in compress(self.codes, mask):
                numbers[code] += 1
        return {value: number for value, number in zip(self.values, numbers, strict=True) if number}


class MaskIndex(ABC):
    """The columns of rows of any sort, made when they are first asked for, and queries over them."""

    def __init__(self, fields: Mapping[str, QueryField], named: Mapping[str, int] | None = None) -> None:
        """:param fields: what queries may ask for, by name
        :param named: the addresses that go by a name"""
        self.fields, self.named = fields, named or {}
        self._masks: OrderedDict[Node, Mask] = OrderedDict()
        self._offers: dict[str, list[str]] = {}

    @property
    @abstractmethod
    def everything(self) -> Mask:
        """The mask that selects every row."""

    @abstractmethod
    def column(self, name: str) -> Column:
        """The column of a field."""

    @abstractmethod
    def _text(self, text: str) -> Mask:
        """The rows that free text is in."""

    def offers(self, name: str) -> Sequence[str]:
        """What rows have for a field, as a query is to say it: each once, sorted."""
        found = self._offers.get(name)
        if found is None:
            found = self._offers[name] = sorted({text for text in self._said(name) if text})
        return found

    def _said(self, name: str) -> Iterable[str]:
        """The texts of a field's values."""
        return chain.from_iterable(self.column(name).texts)

    def mask(self, node: Node) -> Mask:
        """Which rows a query selects."""
        match node:
            case Everything():
                return self.everything
            case Not(operand):
                return self._combined("not", [operand])
            case And(operands):
                return self._combined("and", operands)
            case Or(operands):
                return self._combined("or", operands)
            case Comparison() if (equal := without_not_equal(node)) is not None:
                return self._combined("not", [equal])
            case Flag() | Comparison() | Text():
                return self._remembered(node)

    def _combined(self, how: str, operands: Sequence[Node]) -> Mask:
        numbers = [int.from_bytes(self.mask(node), "little") for node in operands]
        number = numbers[0]
        for other in numbers[1:]:
            number = number & other if how == "and" else number | other
        if how == "not":
            number ^= int.from_bytes(self.everything, "little")
        return number.to_bytes(len(self.everything), "little")

    def _remembered(self, leaf: Flag | Comparison | Text) -> Mask:
        mask = self._masks.get(leaf)
        if mask is None:
            mask = self._masks[leaf] = self._text(leaf.text) if isinstance(leaf, Text) else self._leaf(leaf)
            if len(self._masks) > _KEPT_MASKS:
                self._masks.popitem(last=False)
        else:
            self._masks.move_to_end(leaf)
        return mask

    def _leaf(self, leaf: Flag | Comparison) -> Mask:
        name = field_name(leaf)
        field, column = self.fields[name], self.column(name)
        if isinstance(leaf, Comparison) and field.type is FieldType.CHOICE:
            choices = chosen(field, leaf.operator, leaf.value)
            return column.spread([not choices.isdisjoint(texts) for texts in column.texts])
        if isinstance(leaf, Comparison) and field.type is FieldType.TEXT:
            if leaf.operator == "~":
                return column.holding(leaf.value)
            if not _WILD.search(leaf.value):
                return column.spread([leaf.value in texts for texts in column.texts])
            matches = text_matcher(leaf.operator, leaf.value)
            return column.spread([any(map(matches, texts)) for texts in column.texts])
        test = value_test(leaf, field, self.named)
        return column.spread([test(value) for value in column.values])


class TaskIndex(MaskIndex):
    """The columns of one snapshot, made when they are first asked for, and queries over them."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(FIELDS, named_addresses(snapshot))
        self.snapshot = snapshot
        self.tasks: list[Task] = snapshot.tasks
        self._columns: dict[str, Column] = {}

    @cached_property
    def everything(self) -> Mask:
        return b"\1" * len(self.tasks)

    @cached_property
    def fs(self) -> Column:
        """The ``fs_struct`` that each task owns: address, or ``None``."""
        return coded([task.owned_fs for task in self.tasks])

    @cached_property
    def _examples(self) -> list[Task]:
        """The first task of each ``fs_struct``, by its code."""
        examples: dict[int, Task] = dict(zip(reversed(self.fs.codes), reversed(self.tasks), strict=True))
        return [examples[code] for code in range(len(self.fs.values))]

    def column(self, name: str) -> Column:
        """The column of a field of the query language."""
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._make(FIELDS[name])
        return column

    def _make(self, field: Field) -> Column:
        get, snapshot = field.get, self.snapshot
        if field.scope is Scope.FS:
            return self._of_fs(lambda task: get(task, snapshot))
        return coded([get(task, snapshot) for task in self.tasks])

    def _of_fs(self, get: Callable[[Task], Any]) -> Column:
        """A column of something that all who share an ``fs_struct`` have in common: asked of one of them."""
        by_fs = coded(list(map(get, self._examples)))
        return Column(by_fs.values, list(map(by_fs.codes.__getitem__, self.fs.codes)))

    @cached_property
    def _free(self) -> tuple[Column, ...]:
        """Names apart from paths: names differ between tasks that share their paths."""
        return tuple(map(self.column, FREE_TEXT_FIELDS))

    def warm_up(self, between: Callable[[], None] = lambda: None) -> None:
        """Make what queries need before they are typed: what free text looks at, then the columns of all fields.

        :param between: called before every part of the work
        """
        for name in (*FREE_TEXT_FIELDS, "comm"):
            between()
            column = self.column(name)
            between()
            _ = column.texts
            between()
            column.holding("\0")
        for name in FIELDS:
            between()
            self.column(name)
        for name in FIELDS:
            between()
            self.offers(name)

    def _said(self, name: str) -> Iterable[str]:
        """Of seconds, which never are the same, nothing; numbers as their field shows them."""
        field = FIELDS[name]
        if field.choices or field.type is FieldType.SECONDS:
            return ()
        if field.type in (FieldType.NUMBER, FieldType.OCTAL):
            return (field.show(value) for value in self.column(name).values if value is not None)
        return super()._said(name)

    def _text(self, text: str) -> Mask:
        number = 0
        for column in self._free:
            number |= int.from_bytes(column.holding(text), "little")
        if text.isascii() and text.removeprefix("-").isdigit():
            pids = self.column("pid")
            number |= int.from_bytes(pids.spread([str(pid) == text for pid in pids.values]), "little")
        at = tasks_at(text, self.snapshot)
        if at:
            number |= int.from_bytes(bytes(task.address in at for task in self.tasks), "little")
        return number.to_bytes(len(self.tasks), "little")


def coded(each: Sequence[Any]) -> Column:
    """A column from the value of each task."""
    places = {value: place for place, value in enumerate(dict.fromkeys(each))}
    return Column(list(places), list(map(places.__getitem__, each)))
