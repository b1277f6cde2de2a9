"""Facets: how many of the tasks that a query selects have each value, and the query with a value added or taken off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

from explorer.model import Snapshot

from .ast import And, Comparison, Everything, Flag, Node, Not, Or, all_of, comparisons
from .facts import FIELDS, QueryField, shown
from .field import groups_of
from .index import Mask, TaskIndex
from .parse import QueryError, parse_query

__all__ = ("Facet", "FacetTerm", "Standing", "count_facets", "standing_of", "toggle_term")

#: Fields that are counted, in the order of what is asked first; ``FLAGS`` stands for the flags together.
FLAGS = "flags"
_FIELDS = (
    "kind",
    "placement",
    "owner",
    FLAGS,
    "runtime",
    "container",
    "mnt_ns",
    "module",
    "workqueue",
    "state",
    "cgroup",
)
_FLAG_NAMES = ("borrowing", "walking", "mismatch", "exited")
#: Values of one field that are listed.
_MOST_TERMS = 10


class Standing(Enum):
    """What a query says of a term."""

    ABSENT = "absent"
    REQUIRED = "required"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class FacetTerm:
    """One value of a field."""

    node: Flag | Comparison | None
    """The term of the query language; ``None`` where it has no way to say this value."""
    label: str
    """Escaped."""
    count: int
    depth: int = 0
    """1: of the group above."""


@dataclass(frozen=True, slots=True)
class Facet:
    """The values of one field."""

    name: str
    terms: tuple[FacetTerm, ...]
    more: int
    """Values that are not listed."""


def count_facets(index: TaskIndex, mask: Mask, query: Node) -> list[Facet]:
    """The facets of the tasks that a mask selects, most frequent value first; fields that none has are left out.

    :param query: its terms are listed even where they count nothing, so that they can be taken away
    """
    facets = []
    for name in _FIELDS:
        facet = _flags(index, mask, query) if name == FLAGS else _values(index, mask, query, name)
        if facet.terms:
            facets.append(facet)
    return facets


def _flags(index: TaskIndex, mask: Mask, query: Node) -> Facet:
    terms = []
    for name in _FLAG_NAMES:
        flag = Flag(name)
        number = index.column(name).counts(mask).get(True, 0)
        if number or standing_of(query, flag) is not Standing.ABSENT:
            terms.append(FacetTerm(flag, name, number))
    return Facet(FLAGS, tuple(terms), 0)


def _values(index: TaskIndex, mask: Mask, query: Node, name: str) -> Facet:
    column = index.column(name)
    counts = column.counts(mask)
    asked = {node.value for node in comparisons(query) if node.field == name}
    texts = {value: "".join(shown(value)) for value in dict.fromkeys(column.values) if value is not None}
    ranked = sorted(
        (value for value, text in texts.items() if value in counts or text in asked),
        key=lambda value: (-counts.get(value, 0), texts[value]),
    )
    kept = [value for place, value in enumerate(ranked) if place < _MOST_TERMS or texts[value] in asked]
    terms = [
        FacetTerm(
            _term(name, texts[value]),
            texts[value] + _remark(name, value, index.snapshot),
            counts.get(value, 0),
        )
        for value in kept
    ]
    return Facet(name, _grouped(name, terms, asked), len(ranked) - len(kept))


def _grouped(name: str, terms: list[FacetTerm], asked: set[str]) -> tuple[FacetTerm, ...]:
    """The terms under the words that stand for several of them, if the field has such: the larger group first."""
    groups = []
    for word, stands_for in groups_of(FIELDS[name]).items():
        below = [replace(term, depth=1) for term in terms if term.label in stands_for]
        if below or word in asked:
            groups.append((FacetTerm(_term(name, word), word, sum(term.count for term in below)), below))
    if not groups:
        return tuple(terms)
    groups.sort(key=lambda group: -group[0].count)
    return tuple(term for group, below in groups for term in (group, *below))


def _remark(name: str, value: Any, snapshot: Snapshot) -> str:
    if name != "mnt_ns":
        return ""
    init = snapshot.namespace_by_address.get(snapshot.kernel.init_mnt_ns or 0)
    return " init" if init is not None and init.inum == value else ""


@lru_cache(1024)
def _term(name: str, text: str) -> Comparison | None:
    """``field:value``, if the language can say it: text with a wildcard or with both kinds of quotes in it cannot."""
    node = Comparison(name, ":", text)
    if not text or "*" in text or "?" in text:
        return None
    try:
        return node if parse_query(str(node)).root == node else None
    except QueryError:
        return None


def _operands(root: Node) -> tuple[Node, ...]:
    if isinstance(root, And):
        return root.operands
    return () if isinstance(root, Everything) else (root,)


def standing_of(query: Node, term: Flag | Comparison | None) -> Standing:
    """Whether a query requires or excludes a term, as one of the terms that all must hold."""
    if term is None:
        return Standing.ABSENT
    for operand in _operands(query):
        if operand == term:
            return Standing.REQUIRED
        if operand in (Not(term), _unequal(term)):
            return Standing.EXCLUDED
    return Standing.ABSENT


def _unequal(term: Flag | Comparison) -> Node | None:
    return Comparison(term.field, "!=", term.value) if isinstance(term, Comparison) else None


def toggle_term(
    text: str,
    term: Flag | Comparison,
    excluded: bool = False,
    fields: Mapping[str, QueryField] = FIELDS,
) -> str:
    """The query with a term required (or excluded), or no longer, if it was.

    What was typed stays as it was typed, unless something is taken out of it.

    :param fields: what may be asked for: of tasks, or a table's own

    :raises QueryError: if ``text`` is no query
    """
    root = parse_query(text, fields).root
    standing = standing_of(root, term)
    wanted: Node = Not(term) if excluded else term
    if standing is Standing.ABSENT:
        before = f"({text.strip()})" if isinstance(root, Or) else text.strip()
        return f"{before} {wanted}".strip()
    forms = (term, Not(term), _unequal(term))
    rest = [operand for operand in _operands(root) if operand not in forms]
    if standing is not (Standing.EXCLUDED if excluded else Standing.REQUIRED):
        rest.append(wanted)
    return str(all_of(rest)) if rest else ""
