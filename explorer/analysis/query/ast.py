"""What a parsed query is: a small tree that prints itself in the language it was parsed from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = (
    "And",
    "Comparison",
    "Everything",
    "Flag",
    "Node",
    "Not",
    "Or",
    "Text",
    "all_of",
    "any_of",
    "comparisons",
)

_BARE = re.compile(r"""[^\s()"':~!<>=][^\s()"']*""")
_BARE_TEXT = re.compile(r"""[^\s()"':~!<>=]+""")


def _quote(text: str) -> str:
    """A parsed value holds at most one of the two kinds of quotes: there is no escape to write the other."""
    return f"'{text}'" if '"' in text else f'"{text}"'


@dataclass(frozen=True, slots=True)
class Everything:
    """The empty query: matches every task."""

    def __str__(self) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag's bare name: ``borrowing``."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Text:
    """Free text."""

    text: str

    def __str__(self) -> str:
        # Quoted where it could be read as a flag, or be near to one: the printer does not know their names.
        plain = _BARE_TEXT.fullmatch(self.text) and not any(map(str.isalpha, self.text))
        return self.text if plain else _quote(self.text)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``field OP value``; the operator is one of ``: ~ != < <= > >=``."""

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        value = self.value if _BARE.fullmatch(self.value) else _quote(self.value)
        return f"{self.field}{self.operator}{value}"


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node

    def __str__(self) -> str:
        inner = f"({self.operand})" if isinstance(self.operand, (And, Or)) else str(self.operand)
        return f"not {inner}"


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands, none of them an :class:`And`."""

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " ".join(f"({node})" if isinstance(node, Or) else str(node) for node in self.operands)


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands, none of them an :class:`Or`."""

    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.operands))


Node = Everything | Flag | Text | Comparison | Not | And | Or


def all_of(operands: Iterable[Node]) -> Node:
    """The conjunction, flat; a single operand is itself."""
    flat = tuple(part for node in operands for part in (node.operands if isinstance(node, And) else (node,)))
    return flat[0] if len(flat) == 1 else And(flat)


def any_of(operands: Iterable[Node]) -> Node:
    """The disjunction, flat; a single operand is itself."""
    flat = tuple(part for node in operands for part in (node.operands if isinstance(node, Or) else (node,)))
    return flat[0] if len(flat) == 1 else Or(flat)


def comparisons(node: Node) -> Iterator[Comparison]:
    """All comparisons in a query, left to right."""
    if isinstance(node, Comparison):
        yield node
    elif isinstance(node, Not):
        yield from comparisons(node.operand)
    elif isinstance(node, (And, Or)):
        for operand in node.operands:
            yield from comparisons(operand)
