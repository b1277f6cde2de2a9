"""Records of a large table that are made when somebody asks for one.

Of a hundred thousand tasks that were read from a file or from a kernel most are never looked at one by one. Each is
there from the beginning, as an object of a subclass that knows its table and its row; a field that is asked for comes
from the table's column of it, which is made once for all rows. Whoever asks for all of a record (its dictionary, to
compare, change, copy or write it) makes it the plain record that it stands for, and from then on it is one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from explorer.model.base import Record

__all__ = ("DeferredTable", "defer_records", "table_and_row", "table_and_rows")


_RecordT = TypeVar("_RecordT", bound=Record)


class DeferredTable(Protocol):
    """What records are made from."""

    order: Sequence[int]
    """The numbers of its rows, as objects: those that its records have."""

    def __getitem__(self, name: str) -> Sequence[Any]:
        """By field and row: a value."""

    def column(self, name: str) -> list[Any]:
        """The values of all rows."""

    def members(self, row: int) -> dict[str, Any]:
        """Every field of one row: a new dictionary."""


_DICT, _FIELDS, _TABLE, _ROW = (
    BaseModel.__dict__[slot]
    for slot in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)
_tables_of = attrgetter("__pydantic_extra__")
_CLASSES: dict[type[Record], type[Record]] = {}
_DEFERRED: set[type[Record]] = set()


def defer_records(record: type[_RecordT], table: DeferredTable, rows: int) -> list[_RecordT]:
    """Records of the first so many rows of a table."""
    deferred = _CLASSES.get(record)
    if deferred is None:
        deferred = _CLASSES[record] = _deferred_class(record)
        _DEFERRED.add(deferred)
    made: list[Any] = list(map(object.__new__, repeat(deferred, rows)))
    table.order = list(range(rows))
    for slot, values in ((_TABLE, repeat(table)), (_ROW, table.order)):
        deque(map(slot.__set__, made, values), maxlen=0)
    return made


def table_and_row(record: Record) -> tuple[DeferredTable, int] | None:
    """Where a record still is as it was read; ``None`` for one that has been made."""
    if type(record) in _DEFERRED:
        return _TABLE.__get__(record), _ROW.__get__(record)
    return None


def table_and_rows(records: Sequence[Record]) -> tuple[DeferredTable, slice] | None:
    """Where records still are as they were read, next to each other; ``None`` if some are not."""
    if not records or type(records[0]) not in _DEFERRED:
        return None
    found = _table_and_numbers(type(records[0]), records)
    if found is None:
        return None
    table, numbers = found
    rows = slice(numbers[0], numbers[0] + len(numbers))
    return (table, rows) if numbers == table.order[rows] else None


def _table_and_numbers(
    deferred: type[Record], records: Sequence[Record]
) -> tuple[DeferredTable, list[int]] | None:
    """The one table that all of these are rows of, and which; ``None`` if there is none."""
    # What is counted is found by identity: so it is faster than a comparison of each.
    if list(map(type, records)).count(deferred) != len(records):
        return None
    tables = list(map(_tables_of, records))
    if tables.count(tables[0]) != len(records):
        return None
    return tables[0], list(map(_ROW.__get__, records))


def _deferred_class(record: type[Record]) -> type[Record]:
    """A subclass without a slot of its own: its objects become the record's by their class alone."""

    fields = set(record.model_fields)

    def made(self: Any) -> Any:
        table, row = _TABLE.__get__(self), _ROW.__get__(self)
        become(self, table.members(row))
        return self

    def become(self: Any, values: dict[str, Any]) -> None:
        _DICT.__set__(self, values)
        _FIELDS.__set__(self, fields)
        _TABLE.__set__(self, None)
        _ROW.__set__(self, None)
        object.__setattr__(self, "__class__", record)

    def equal(self: Any, other: Any) -> Any:
        if type(other) is type(self):
            made(other)
        return record.__eq__(made(self), other)

    members: dict[str, Any] = {
        "__slots__": (),
        "__module__": record.__module__,
        "__dict__": property(lambda self: made(self).__dict__, become),
        "__pydantic_fields_set__": property(lambda self: made(self).__pydantic_fields_set__),
    }
    make: Callable[..., type[Record]] = type(record)
    deferred = make(record.__name__, (record,), members)
    for name, member in {
        "__eq__": equal,
        "__hash__": None,
        "__fields_of__": staticmethod(lambda records, names: _columns(deferred, records, names)),
        "__getattr__": lambda self, name: getattr(made(self), name),
        "__deepcopy__": lambda self, memo=None: made(self).__deepcopy__(memo),
        "__copy__": lambda self: made(self).__copy__(),
        "__reduce_ex__": lambda self, protocol: made(self).__reduce_ex__(protocol),
        "__setattr__": lambda self, name, value: setattr(made(self), name, value),
        **{name: property(_column_getter(name)) for name in record.model_fields},
    }.items():
        type.__setattr__(deferred, name, member)
    return deferred


def _columns(
    deferred: type[Record], records: Sequence[Record], names: Sequence[str]
) -> list[list[Any]] | None:
    """Columns of records that are still as they were read, of one table, in any order; ``None`` if some are not."""
    found = _table_and_numbers(deferred, records)
    if found is None:
        return None
    table, rows = found
    if rows == table.order:
        return [table.column(name).copy() for name in names]
    return [list(map(table.column(name).__getitem__, rows)) for name in names]


def _column_getter(name: str) -> Callable[[Any], Any]:
    table_of, row_of = _TABLE.__get__, _ROW.__get__
    return lambda self: table_of(self)[name][row_of(self)]
