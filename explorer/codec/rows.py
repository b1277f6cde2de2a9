"""Rows of JSON as records, a table at once: it is looked at column by column, in C, and not value by value.

What is unusual in any way (a member that is missing, a type that is another than what is written, a hexadecimal number
in capitals) is left to pydantic, row by row, which takes it or says what is wrong with it. So this takes nothing that
the model does not: the tests hold one against the other.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import cache
from itertools import repeat
from math import isfinite
from operator import itemgetter
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import PlainSerializer, TypeAdapter, ValidationError

from explorer.model import KernelInt, Record, hex_address

__all__ = ("records_of_rows",)

_RecordT = TypeVar("_RecordT", bound=Record)
#: Values of a column without ``None`` -> what the model holds.
_Column = Callable[[Sequence[Any]], Iterable[Any]]
#: For fewer rows it is not worth the while.
_FEW = 64
_HEX = re.compile(r"(?:0x[0-9a-f]{1,16}\n)*+")
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


class _UnusualError(Exception):
    """Pydantic has to look at it."""


def records_of_rows(record: type[_RecordT], rows: Sequence[Any]) -> list[_RecordT] | None:
    """The record of each row; ``None`` if pydantic has to look at them, or they are few."""
    if len(rows) < _FEW:
        return None
    try:
        return _records(record, rows)
    except (_UnusualError, ValidationError, KeyError, ValueError, TypeError):
        return None


def _records(record: type[_RecordT], rows: Sequence[Any]) -> list[_RecordT]:
    if set(map(type, rows)) != {dict}:
        raise _UnusualError
    columns = _columns(record)
    if columns is None:
        raise _UnusualError
    names = tuple(columns)
    given = zip(*map(itemgetter(*names), rows), strict=True)
    values = [column(each) for column, each in zip(columns.values(), given, strict=True)]
    build = record.builder()
    return [build(dict(zip(names, each, strict=True))) for each in zip(*values, strict=True)]


@cache
def _columns(record: type[Record]) -> dict[str, Callable[[Sequence[Any]], Sequence[Any]]] | None:
    """For every field, in order; ``None`` for records of which pydantic checks more than the types of the fields."""
    checks = record.__pydantic_decorators__
    if (
        checks.validators
        or checks.field_validators
        or checks.model_validators
        or len(record.model_fields) < 2
    ):
        return None
    hints = get_type_hints(record, include_extras=True)
    return {name: _column_of(hints[name]) for name in record.model_fields}


def _column_of(hint: Any) -> Callable[[Sequence[Any]], Sequence[Any]]:
    arguments = [each for each in get_args(hint) if each is not types.NoneType]
    is_optional = get_origin(hint) in (Union, types.UnionType) and len(arguments) == 1
    type_, decode = _typed(arguments[0] if is_optional else hint)
    if type_ is None and not is_optional:
        return lambda values: list(decode(values))

    def column(values: Sequence[Any]) -> Sequence[Any]:
        found = set(map(type, values))
        has_none = types.NoneType in found
        found.discard(types.NoneType)
        if (has_none and not is_optional) or (type_ is not None and found - {type_}):
            raise _UnusualError
        if not found:
            return values
        if not has_none:
            return list(decode(values))
        decoded = iter(decode([value for value in values if value is not None]))
        return [None if value is None else next(decoded) for value in values]

    return column


def _typed(hint: Any) -> tuple[type | None, _Column]:
    """Of what type all values must be, ``None`` for any; and what becomes of them."""
    if hint == KernelInt:
        return int, _kernel_ints
    if get_origin(hint) is Annotated:
        marks = get_args(hint)[1:]
        if any(isinstance(mark, PlainSerializer) and mark.func is hex_address for mark in marks):
            return str, _addresses
        if all(isinstance(mark, str) for mark in marks):
            return _typed(get_args(hint)[0])
    elif hint in (str, bool):
        return hint, lambda values: values
    elif hint is float:
        return float, _floats
    elif isinstance(hint, type) and issubclass(hint, Enum):
        return str, _words({member.value: member for member in hint})
    elif get_origin(hint) is Literal and all(type(word) is str for word in get_args(hint)):
        return str, _words({word: word for word in get_args(hint)})
    elif isinstance(hint, type) and issubclass(hint, Record) and _columns(hint) is not None:
        return dict, lambda rows: _records(hint, rows)
    adapter: TypeAdapter[Any] = TypeAdapter(hint)
    return None, lambda values: map(adapter.validate_python, values)


def _kernel_ints(values: Sequence[int]) -> Sequence[int]:
    if min(values) < _LEAST or max(values) > _MOST:
        raise _UnusualError
    return values


def _addresses(values: Sequence[str]) -> Iterable[int]:
    if _HEX.fullmatch("\n".join(values) + "\n") is None:
        raise _UnusualError
    return map(int, values, repeat(16))


def _floats(values: Sequence[float]) -> Sequence[float]:
    if not all(map(isfinite, values)):
        raise _UnusualError
    return values


def _words(members: dict[Any, Any]) -> _Column:
    return lambda values: map(members.__getitem__, values)
