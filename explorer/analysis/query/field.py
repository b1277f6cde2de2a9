"""What a fact of a task is: how it is asked for, compared and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Protocol

from explorer.model import Snapshot, Task, escape_text

__all__ = ("Field", "FieldType", "QueryField", "Scope", "Value", "groups_of", "shown")

#: What a getter gives: ``None`` where there is no value or it could not be read; several texts where any will do.
Value = str | int | float | bool | tuple[str, ...] | None


class FieldType(Enum):
    """How a value is written and compared."""

    TEXT = auto()
    CHOICE = auto()
    """One of a fixed set of words."""
    NUMBER = auto()
    """Decimal, or hexadecimal behind 0x."""
    ADDRESS = auto()
    """A number, or the ``…4274c5c0`` that tables show of one; some have a name."""
    SECONDS = auto()
    """A number that may have a fraction."""
    OCTAL = auto()
    FLAG = auto()
    """True or false; its name alone asks for true."""


class Scope(Enum):
    """What the value belongs to: one that belongs to an ``fs_struct`` is decided once for all its sharers."""

    TASK = auto()
    FS = auto()


class QueryField(Protocol):
    """What the query language has to know of a field, whatever it is of."""

    @property
    def name(self) -> str: ...

    @property
    def type(self) -> FieldType: ...

    @property
    def choices(self) -> tuple[str, ...]: ...

    @property
    def also(self) -> Mapping[str, tuple[str, ...]]: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One fact about a task."""

    name: str
    """As queries have it."""
    type: FieldType
    get: Callable[[Task, Snapshot], Value]
    help: str = ""
    """Empty: no query asks for it."""
    choices: tuple[str, ...] = ()
    """Of a :attr:`FieldType.CHOICE` all of its words; of a :attr:`FieldType.ADDRESS` the names of some."""
    scope: Scope = Scope.TASK
    show: Callable[[Any], str] = str
    """A value that is there, as people read it; not escaped yet."""
    unread: str = ""
    """What stands for a value that every task has, where it could not be read."""
    holder: Callable[[Task, Snapshot], object] | None = None
    """What the value is of, where not every task has one: of one that is there, a value that is not is ``?``."""
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other words than :attr:`choices`, and those that each stands for: a group of them, or an older word for one."""

    def text(self, task: Task, snapshot: Snapshot) -> str:
        """The value in a cell, escaped."""
        value = self.get(task, snapshot)
        if value is not None:
            return escape_text(self.show(value))
        is_there = self.holder is not None and self.holder(task, snapshot) is not None
        return "?" if is_there else self.unread


def groups_of(field: QueryField) -> dict[str, tuple[str, ...]]:
    """Words that stand for several choices of a field together, and these."""
    return {word: stands_for for word, stands_for in field.also.items() if len(stands_for) > 1}


def shown(value: Value) -> tuple[str, ...]:
    """A value as text, escaped as it is on the screen: what text comparisons see."""
    if value is None:
        return ()
    if isinstance(value, tuple):
        return tuple(map(escape_text, value))
    return (escape_text(str(value)),)
