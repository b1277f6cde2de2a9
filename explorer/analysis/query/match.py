"""Decides queries: a query's tree becomes closures over one snapshot, quick enough for 100,000 tasks."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explorer.analysis import tasks_at
from explorer.model import Snapshot, Task, global_fs

from .ast import And, Comparison, Everything, Flag, Node, Not, Or, Text
from .facts import FIELDS, FREE_TEXT, Field, FieldType, QueryField, Scope, shown

__all__ = (
    "NO",
    "NUMERIC",
    "TEXTUAL",
    "YES",
    "Compiler",
    "Predicate",
    "chosen",
    "field_name",
    "holds_in_order",
    "is_short_address",
    "leaf_test",
    "named_addresses",
    "parse_number",
    "plain_pieces",
    "short_address_end",
    "text_matcher",
    "value_test",
    "wants_true",
    "without_not_equal",
)

Predicate = Callable[[Task], bool]

YES = frozenset({"yes", "true", "1"})
NO = frozenset({"no", "false", "0"})
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    ":": operator.eq,
}
_SPECIAL = re.compile(r"^\^|\$$|[?\n]")
TEXTUAL = frozenset({FieldType.TEXT, FieldType.CHOICE})
NUMERIC = frozenset({FieldType.NUMBER, FieldType.ADDRESS, FieldType.SECONDS, FieldType.OCTAL})
#: An address as tables show it, by what differs between two of one kernel; see :func:`explorer.naming.short_address`.
_SHORT_ADDRESS = re.compile(r"…([0-9a-fA-F]{8})")
_NUMBER_FORMS = {
    FieldType.NUMBER: re.compile(r"-?[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}"),
    FieldType.ADDRESS: re.compile(r"[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}"),
    FieldType.SECONDS: re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?"),
    FieldType.OCTAL: re.compile(r"[0-7]{1,6}"),
}


def parse_number(kind: FieldType, text: str) -> int | float | None:
    """The number that ``text`` writes for a field of type ``kind``; ``None`` if it writes none."""
    if not _NUMBER_FORMS[kind].fullmatch(text):
        return None
    if kind is FieldType.SECONDS:
        number = float(text)
        return number if math.isfinite(number) else None
    if kind is FieldType.OCTAL:
        return int(text, 8)
    return int(text, 16) if text[:2].lower() == "0x" else int(text)


def text_matcher(sign: str, pattern: str) -> Callable[[str], bool]:
    """What ``:``, ``!=`` (without its not) and ``~`` ask of one text. Linear in the text."""
    if sign != "~":
        if "*" not in pattern and "?" not in pattern:
            return pattern.__eq__
        return _Glob(pattern, starts=True, ends=True, ignore_case=False)
    pieces = plain_pieces(pattern)
    if pieces is not None:
        slow, holds = _Glob(pattern, starts=False, ends=False, ignore_case=True), holds_in_order(pieces)
        return lambda text: holds(text.lower()) if text.isascii() else slow(text)
    starts, ends = pattern.startswith("^"), pattern.endswith("$") and len(pattern) > 1
    core = pattern[1 if starts else 0 : -1 if ends else None]
    return _Glob(core, starts=starts, ends=ends, ignore_case=True)


def plain_pieces(pattern: str) -> list[str] | None:
    """What lower-case ASCII text must hold, in this order, for ``~ pattern`` to match; ``None``: it takes more to say.

    Case folding beyond ASCII is left to ``re``: it does not agree with :meth:`str.lower` on every letter.
    """
    if not pattern.isascii() or _SPECIAL.search(pattern):
        return None
    return [piece for piece in pattern.lower().split("*") if piece]


def holds_in_order(pieces: Sequence[str]) -> Callable[[str], bool]:
    """Whether a text holds all pieces, one after the other."""

    def holds(text: str) -> bool:
        at = 0
        for piece in pieces:
            found = text.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return True

    return holds


def chosen(field: QueryField, sign: str, value: str) -> frozenset[str]:
    """Which choices of a field ``:`` or ``~`` with a value means; a word for several of them means all of these.

    Such a word is taken as a pattern takes it only where no choice is: ``kind~user`` means no more than ``user…``.
    """
    named = field.also.get(value)
    if named is not None:
        return frozenset(named)
    matches = text_matcher(sign, value)
    found = [choice for choice in field.choices if matches(choice)]
    return frozenset(found or (choice for word in field.also if matches(word) for choice in field.also[word]))


def is_short_address(field: QueryField, text: str) -> bool:
    """Whether ``text`` is the end of an address, as tables show it."""
    return field.type is FieldType.ADDRESS and short_address_end(text) is not None


def short_address_end(text: str) -> int | None:
    """The lower half of an address that tables show by it; ``None`` for other text."""
    short = _SHORT_ADDRESS.fullmatch(text)
    return None if short is None else int(short[1], 16)


def wants_true(node: Flag | Comparison) -> bool:
    """What a leaf wants a flag to be: its name alone, or ``borrowing:yes``."""
    return isinstance(node, Flag) or node.value.lower() in YES


def named_addresses(snapshot: Snapshot) -> dict[str, int]:
    """The addresses that the kernel itself has names for."""
    return {name: address for address, name in global_fs(snapshot.kernel).items()}


def leaf_test(node: Flag | Comparison, snapshot: Snapshot) -> tuple[Field, Callable[[Any], bool]]:
    """The field of tasks that a leaf of a query asks of, and what it asks of the field's value. Not for ``!=``."""
    field = FIELDS[field_name(node)]
    return field, value_test(node, field, named_addresses(snapshot))


def field_name(node: Flag | Comparison) -> str:
    """The field that a leaf asks of."""
    return node.name if isinstance(node, Flag) else node.field


def value_test(node: Flag | Comparison, field: QueryField, named: Mapping[str, int]) -> Callable[[Any], bool]:
    """What a leaf asks of a value of its field. Not for ``!=``. :param named: the addresses that go by a name"""
    if isinstance(node, Flag):
        return bool
    if field.type is FieldType.FLAG:
        wanted = wants_true(node)
        return lambda value: bool(value) is wanted
    if field.type is FieldType.CHOICE:
        choices = chosen(field, node.operator, node.value)
        return lambda value: not choices.isdisjoint(shown(value))
    if field.type is FieldType.ADDRESS and node.value in field.choices:
        wanted_address = named.get(node.value)
        return lambda value: value is not None and value == wanted_address
    end = short_address_end(node.value) if field.type is FieldType.ADDRESS else None
    if end is not None:
        return lambda value: value is not None and value & 0xFFFFFFFF == end
    if field.type in NUMERIC:
        number, compare = parse_number(field.type, node.value), _ORDER[node.operator]
        return lambda value: value is not None and compare(value, number)
    matches = text_matcher(node.operator, node.value)
    return lambda value: any(map(matches, shown(value)))


def without_not_equal(node: Comparison) -> Comparison | None:
    """``field:value`` for ``field!=value``; ``None`` for any other operator."""
    return Comparison(node.field, ":", node.value) if node.operator == "!=" else None


class _Glob:
    """Shell wildcards: the leftmost match of each piece between stars is always good enough, so nothing backtracks."""

    def __init__(self, pattern: str, *, starts: bool, ends: bool, ignore_case: bool) -> None:
        flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
        texts = pattern.split("*")
        self._lengths = [len(text) for text in texts]
        self._pieces = [
            re.compile("".join("." if char == "?" else re.escape(char) for char in text), flags)
            for text in texts
        ]
        self._starts, self._ends = starts, ends

    def __call__(self, text: str) -> bool:
        position, last = 0, len(self._pieces) - 1
        for index, (piece, length) in enumerate(zip(self._pieces, self._lengths, strict=True)):
            if index == last and self._ends:
                at = len(text) - length
                if at < position or (index == 0 and self._starts and at != 0):
                    return False
                return piece.match(text, at) is not None
            find = piece.match if index == 0 and self._starts else piece.search
            found = find(text, position)
            if found is None:
                return False
            position = found.end()
        return True


class Compiler:
    """Turns a query's tree into closures over one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def compile(self, node: Node) -> Predicate:
        match node:
            case Everything():
                return lambda task: True
            case Flag():
                return self._remember(*leaf_test(node, self._snapshot))
            case Text(text):
                return self._free_text(text)
            case Comparison():
                return self._comparison(node)
            case Not(operand):
                inner = self.compile(operand)
                return lambda task: not inner(task)
            case And(operands):
                every = tuple(map(self.compile, operands))
                return lambda task: all(predicate(task) for predicate in every)
            case Or(operands):
                some = tuple(map(self.compile, operands))
                return lambda task: any(predicate(task) for predicate in some)

    def _comparison(self, node: Comparison) -> Predicate:
        equal = without_not_equal(node)
        if equal is not None:
            inner = self._comparison(equal)
            return lambda task: not inner(task)
        return self._remember(*leaf_test(node, self._snapshot))

    def _remember(self, field: Field, test: Callable[[Any], bool]) -> Predicate:
        """Ask once for each ``fs_struct`` where the field is about that, and once for each value elsewhere."""
        get, snapshot, known = field.get, self._snapshot, dict[Any, bool]()
        if field.scope is Scope.FS:

            def key_of(task: Task) -> Any:
                return task.owned_fs
        else:

            def key_of(task: Task) -> Any:
                return get(task, snapshot)

        def predicate(task: Task) -> bool:
            key = key_of(task)
            answer = known.get(key)
            if answer is None:
                answer = known[key] = test(get(task, snapshot))
            return answer

        return predicate

    def _free_text(self, text: str) -> Predicate:
        matches = text_matcher("~", text)
        contains = self._remember(FREE_TEXT, lambda value: any(map(matches, shown(value))))
        at = tasks_at(text, self._snapshot)
        return lambda task: str(task.pid) == text or contains(task) or task.address in at
