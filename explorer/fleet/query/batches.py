"""A query decided for the rows of one batch: what the scanner cannot say, with the tests of one snapshot.

:class:`~explorer.analysis.query.MaskIndex` does the same for the tasks of a snapshot on the screen; only where a column
comes from differs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from explorer.analysis import parse_address
from explorer.analysis.query import (
    FIELDS,
    FREE_TEXT_FIELDS,
    And,
    Column,
    Comparison,
    Everything,
    FieldType,
    Flag,
    Mask,
    MaskIndex,
    Node,
    Not,
    Or,
    Text,
    field_name,
)
from explorer.fleet.tables import query_column
from explorer.model import PF_NAMES

from .bounds import FLAGS, NAME, NAMES, name_column

__all__ = ("BatchIndex", "TasksAt", "columns_of")

#: The addresses of the tasks of one target (by its key) that an address in free text has to do with.
TasksAt = Callable[[str, str], frozenset[int]]


class _Escaped(Column):
    """A column whose texts are escaped already."""

    @cached_property
    def texts(self) -> list[tuple[str, ...]]:
        return [
            () if value is None else value if isinstance(value, tuple) else (str(value),)
            for value in self.values
        ]


class BatchIndex(MaskIndex):
    """The columns of a batch of the table ``tasks``, and queries over them."""

    def __init__(self, batch: Any, tasks_at: TasksAt) -> None:
        """:param batch: a ``pyarrow.RecordBatch`` with the columns that :func:`columns_of` the query gives"""
        super().__init__(FIELDS)
        self._batch, self._tasks_at = batch, tasks_at
        self._columns: dict[str, Column] = {}

    @cached_property
    def everything(self) -> Mask:
        return b"\1" * int(self._batch.num_rows)

    def column(self, name: str) -> Column:
        column = self._columns.get(name)
        if column is None:
            column = self._columns[name] = self._make(name)
        return column

    def _make(self, name: str) -> Column:
        if name == NAME:
            each = zip(*(self._batch.column(column).to_pylist() for column in NAMES), strict=True)
            return _coded([tuple(text for text in texts if text is not None) for texts in each])
        column = _dictionary(self._batch.column(query_column(name)))
        if name != FLAGS:
            return column
        sets = [
            tuple(word for word, bit in PF_NAMES.items() if bits is not None and bits & bit)
            for bits in column.values
        ]
        return _Escaped(sets, column.codes)

    def _leaf(self, leaf: Flag | Comparison) -> Mask:
        if not isinstance(leaf, Comparison) or not _is_named(leaf):
            return super()._leaf(leaf)
        names = _dictionary(self._batch.column(name_column(leaf.field)))
        return names.spread([name == leaf.value for name in names.values])

    def _text(self, text: str) -> Mask:
        number = 0
        for name in FREE_TEXT_FIELDS:
            number |= int.from_bytes(self.column(name).holding(text), "little")
        pids = self.column("pid")
        number |= int.from_bytes(pids.spread([str(pid) == text for pid in pids.values]), "little")
        if parse_address(text) is not None:
            number |= int.from_bytes(self._at(text), "little")
        return number.to_bytes(self._batch.num_rows, "little")

    def _at(self, text: str) -> Mask:
        """The tasks that an address has to do with, each in its own kernel."""
        keys, addresses = (self._batch.column(name).to_pylist() for name in ("key", "address"))
        return bytes(
            address in self._tasks_at(key, text) for key, address in zip(keys, addresses, strict=True)
        )


def _is_named(node: Comparison) -> bool:
    """Whether an address is asked for by its name: each kernel has its own."""
    field = FIELDS[node.field]
    return field.type is FieldType.ADDRESS and node.value in field.choices


def _dictionary(array: Any) -> Column:
    """Distinct values of an array of Arrow's, and for each row the place of its own among them."""
    coded = array.dictionary_encode()
    values: list[Any] = coded.dictionary.to_pylist()
    codes: list[int | None] = coded.indices.to_pylist()
    return _Escaped([*values, None], [len(values) if code is None else code for code in codes])


def _coded(each: list[tuple[str, ...]]) -> Column:
    places = {value: place for place, value in enumerate(dict.fromkeys(each))}
    return _Escaped(list(places), [places[value] for value in each])


def columns_of(node: Node) -> frozenset[str]:
    """The columns that a query has to see."""
    match node:
        case Everything():
            return frozenset()
        case Not(operand):
            return columns_of(operand)
        case And(operands) | Or(operands):
            return frozenset[str]().union(*map(columns_of, operands))
        case Text(text):
            found = frozenset({"pid"}).union(*map(_columns_of_field, FREE_TEXT_FIELDS))
            return found if parse_address(text) is None else found | {"key", "address"}
        case Comparison() if _is_named(node):
            return frozenset({name_column(node.field)})
        case Flag() | Comparison():
            return _columns_of_field(field_name(node))


def _columns_of_field(name: str) -> frozenset[str]:
    return frozenset(NAMES if name == NAME else (query_column(name),))
