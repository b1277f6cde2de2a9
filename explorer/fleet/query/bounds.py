"""A query as filters for the scanner of a dataset: rows that they do not let through are never made.

Not every term can be said in Arrow's words as exactly as the language means it. A node therefore becomes *bounds*: a
filter that only rows which match pass (``must``), and one that all rows which match pass (``may``). Where they differ,
:mod:`explorer.fleet.query.batches` decides what ``may`` lets through, row by row. A filter of ours is true or false of
every row, never null: of a value that is not there nothing holds, and ``not`` turns that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.analysis import parse_address
from explorer.analysis.query import (
    FIELDS,
    FREE_TEXT_FIELDS,
    And,
    Comparison,
    Everything,
    FieldType,
    Flag,
    Node,
    Not,
    Or,
    QueryField,
    Text,
    chosen,
    field_name,
    parse_number,
    short_address_end,
    wants_true,
    without_not_equal,
)
from explorer.fleet.needed import need
from explorer.fleet.tables import query_column
from explorer.model import PF_NAMES

__all__ = ("FLAGS", "NAME", "NAMES", "Bounds", "bounds_of", "name_column")

pa, pc = need("pyarrow"), need("pyarrow.compute")

#: The field of a task's names, and the columns that they are in; that of its flags, whose column has their bits.
NAME, NAMES, FLAGS = "name", ("comm", "full_name"), "flags"
_TRUE, _FALSE = pc.scalar(True), pc.scalar(False)
#: Characters of a pattern that is handed to the scanner: RE2 takes no pattern of any size, and says so in mid-scan.
_LONGEST_PATTERN = 200
_SURROGATE = re.compile("[\ud800-\udfff]")
_LOW_HALF = 0xFFFFFFFF
#: By type of the field, the least and the most that its column can hold.
_ADDRESSES, _WHOLE = (0, (1 << 64) - 1), (-(1 << 63), (1 << 63) - 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Two filters (``pyarrow.compute.Expression``) with what a node means in between."""

    must: Any
    may: Any
    exact: bool = True
    """They are one: what the node means."""

    @classmethod
    def of(cls, expression: Any) -> Bounds:
        """Of what can be said exactly."""
        return cls(expression, expression)

    @classmethod
    def unsaid(cls, may: Any) -> Bounds:
        """Of what the scanner cannot decide, beyond that."""
        return cls(_FALSE, may, exact=False)

    def __invert__(self) -> Bounds:
        return Bounds(~self.may, ~self.must, self.exact)


def name_column(field: str) -> str:
    """Of a field that may be an address with a name: the column with that."""
    return f"{query_column(field)}_name"


def bounds_of(node: Node) -> Bounds:
    """The bounds of a query over the table ``tasks``."""
    match node:
        case Everything():
            return Bounds.of(_TRUE)
        case Not(operand):
            return ~bounds_of(operand)
        case And(operands):
            return _joined(lambda a, b: a & b, list(map(bounds_of, operands)))
        case Or(operands):
            return _any(list(map(bounds_of, operands)))
        case Text(text):
            return _free_text(text)
        case Comparison() if (equal := without_not_equal(node)) is not None:
            return ~bounds_of(equal)
        case Flag() | Comparison():
            return _leaf(node, FIELDS[field_name(node)])


def _joined(join: Callable[[Any, Any], Any], parts: Sequence[Bounds]) -> Bounds:
    """In pairs, and these in pairs: a thousand terms in a row would be a thousand deep."""
    while len(parts) > 1:
        pairs = [parts[at : at + 2] for at in range(0, len(parts), 2)]
        parts = [
            pair[0]
            if len(pair) == 1
            else Bounds(
                join(pair[0].must, pair[1].must),
                join(pair[0].may, pair[1].may),
                pair[0].exact and pair[1].exact,
            )
            for pair in pairs
        ]
    return parts[0]


def _any(parts: Sequence[Bounds]) -> Bounds:
    return _joined(lambda a, b: a | b, parts)


def _column(field: str) -> Any:
    return pc.field(query_column(field))


def _leaf(node: Flag | Comparison, field: QueryField) -> Bounds:
    column = _column(field.name)
    if field.type is FieldType.FLAG:
        is_set = pc.coalesce(column, _FALSE)  # of no value a flag is not set
        return Bounds.of(is_set if wants_true(node) else ~is_set)
    assert isinstance(node, Comparison), "the parser lets no other through"
    if field.type is FieldType.CHOICE:
        return Bounds.of(_choice(field.name, sorted(chosen(field, node.operator, node.value))))
    if field.type is FieldType.TEXT:
        return _text(field.name, node.operator, node.value)
    if field.type is FieldType.ADDRESS:
        if node.value in field.choices:
            return Bounds.of(_is_in(pc.field(name_column(field.name)), [node.value]))
        end = short_address_end(node.value)
        if end is not None:
            low = pc.bit_wise_and(column, pa.scalar(_LOW_HALF, pa.uint64()))
            return Bounds.of(column.is_valid() & (low == pa.scalar(end, pa.uint64())))
    number = parse_number(field.type, node.value)
    assert number is not None, "the parser lets no other through"
    return Bounds.of(_compared(field, node.operator, number))


def _is_in(column: Any, words: Sequence[str]) -> Any:
    return pc.is_in(column, value_set=pa.array(words, pa.string()), skip_nulls=True)


def _choice(field: str, words: Sequence[str]) -> Any:
    if field != FLAGS:
        return _is_in(_column(field), words)
    mask = 0
    for word in words:
        mask |= PF_NAMES[word]
    bits = pc.bit_wise_and(_column(field), pa.scalar(mask, pa.uint64()))
    return _column(field).is_valid() & (bits != pa.scalar(0, pa.uint64()))


def _compared(field: QueryField, sign: str, number: int | float) -> Any:
    """A number that the column cannot hold is above or below all that are in it."""
    column = _column(field.name)
    if field.type is FieldType.SECONDS:
        value = pa.scalar(number, pa.float64())
    else:
        least, most = _ADDRESSES if field.type is FieldType.ADDRESS else _WHOLE
        if not least <= number <= most:
            holds = sign in (("<", "<=") if number > most else (">", ">="))
            return column.is_valid() if holds else _FALSE
        value = pa.scalar(number, pa.uint64() if field.type is FieldType.ADDRESS else pa.int64())
    match sign:
        case "<":
            found = column < value
        case "<=":
            found = column <= value
        case ">":
            found = column > value
        case ">=":
            found = column >= value
        case _:
            found = column == value
    return column.is_valid() & found


# -- text --------------------------------------------------------------------------------------------------------


def _text(field: str, sign: str, pattern: str) -> Bounds:
    if field == NAME:
        return _any([_text_of(pc.field(name), sign, pattern) for name in NAMES])
    return _text_of(_column(field), sign, pattern)


def _text_of(column: Any, sign: str, pattern: str) -> Bounds:
    if _SURROGATE.search(pattern):
        return Bounds.of(_FALSE)  # text in the tables is escaped: none of it has one, and Arrow takes none
    if sign != "~" and "*" not in pattern and "?" not in pattern:
        return Bounds.of(column.is_valid() & (column == pa.scalar(pattern)))
    if len(pattern) > _LONGEST_PATTERN:
        return Bounds.unsaid(column.is_valid())
    if sign != "~":
        found = pc.match_substring_regex(column, rf"(?s)\A{_glob(pattern)}\z")
        return Bounds.of(column.is_valid() & found)
    if not pattern.isascii():
        return Bounds.unsaid(column.is_valid())
    starts, ends = pattern.startswith("^"), pattern.endswith("$") and len(pattern) > 1
    core = _glob(pattern[1 if starts else 0 : -1 if ends else None])
    found = pc.match_substring_regex(column, "".join(["(?si)", r"\A" * starts, core, r"\z" * ends]))
    plain = pc.string_is_ascii(column)  # RE2 and Python do not agree on the case of every letter beyond it
    return Bounds(
        column.is_valid() & plain & found,
        column.is_valid() & (~plain | found),
        exact=False,
    )


def _glob(pattern: str) -> str:
    """Shell wildcards as RE2 has them. Beyond ASCII it takes no backslash."""
    return "".join(
        {"*": ".*", "?": "."}.get(char) or (re.escape(char) if char.isascii() else char) for char in pattern
    )


def _free_text(text: str) -> Bounds:
    """As of one snapshot: in the name or a path, the pid, or an address in what the task has to do with."""
    parts = [_text(name, "~", text) for name in FREE_TEXT_FIELDS]
    if text.isascii() and text.removeprefix("-").isdigit() and str(int(text)) == text:
        parts.append(Bounds.of(_compared(FIELDS["pid"], ":", int(text))))
    if parse_address(text) is not None:
        parts.append(Bounds.unsaid(_TRUE))
    return _any(parts)
