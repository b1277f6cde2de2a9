"""Tables of a document in which clocks move from frame to frame, and next to nothing else does.

A delta says of thousands of records that a clock of theirs went on by 50 ms. The records stay as they are, and are the
same objects from frame to frame; what their clocks show is kept beside them, a number each, until somebody needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import compress, repeat
from operator import add, is_
from typing import Any

__all__ = ("CLOCKS", "STEPS", "ClockedTable", "Document")

Document = dict[str, Any]

CLOCKS = ("waiting_s",)
#: What a delta's character says of a clock, in milliseconds beside what most of them moved by.
STEPS = {"0": 0, "1": 1, "-": -1}
#: Milliseconds that seconds in a float tell apart, whatever a chain of deltas adds; and what one of these may add.
_MOST, _MOST_BY = 1 << 48, 1 << 40


class _OddClockError(Exception):
    """A clock that is no number, or one beyond all that clocks show."""


class ClockedTable(list[Document]):
    """Records, each as it was when anything but a clock of it changed last."""

    __slots__ = ("made_from", "moved", "orders", "others", "places", "token")

    def __init__(self, records: Iterable[Document], moved: dict[str, list[int | None]] | None = None) -> None:
        super().__init__(records)
        self.moved: dict[str, list[int | None]] = {} if moved is None else moved
        """By clock, milliseconds of every record; ``None`` for one that shows what the record has."""
        self.places: dict[str, int] | None = None
        """Where the record of a key is, if that is known; shared, and so never changed."""
        self.orders: list[Any] | None = None
        """By what each record is sorted, if that is known: ``None`` where it is not."""
        self.token = object()
        self.made_from: object = None
        """The token of the table that has the same records at all places but :attr:`others`, if one has."""
        self.others: set[int] = set()

    def picked(self, places: Sequence[int]) -> ClockedTable:
        """The records at these places, and their clocks."""
        moved = {clock: [shown[at] for at in places] for clock, shown in self.moved.items()}
        found = ClockedTable([self[at] for at in places], moved)
        if self.orders is not None:
            found.orders = [self.orders[at] for at in places]
        return found

    def sorted(self, order: Callable[[Document], Any]) -> ClockedTable:
        """The records in order. :raises KeyError: (also TypeError, ValueError) if one has none"""
        known = self.orders or [None] * len(self)
        self.orders = [order(record) if by is None else by for record, by in zip(self, known, strict=True)]
        return self.picked(sorted(range(len(self)), key=self.orders.__getitem__))

    def settled(self, place: int) -> Document:
        """A record with what its clocks show."""
        shown = {clock: known[place] for clock, known in self.moved.items()}
        return {
            **self[place],
            **{clock: value / 1000 for clock, value in shown.items() if value is not None},
        }

    def all_settled(self) -> list[Document]:
        """All of them; those of which no clock moved are the same objects."""
        still = [all(shown[at] is None for shown in self.moved.values()) for at in range(len(self))]
        return [record if still[at] else self.settled(at) for at, record in enumerate(self)]

    def put(self, place: int, record: Document) -> None:
        """Another record at a place, or behind the last, with clocks of its own."""
        if self.orders is not None:
            self.orders[place : place + 1] = [None]
        self.others.add(place)
        if place == len(self):
            self.append(record)
            for shown in self.moved.values():
                shown.append(None)
            return
        self[place] = record
        for shown in self.moved.values():
            shown[place] = None

    def move(self, clock: str, by: int, steps: Sequence[str]) -> None:
        """A clock of every record goes on. :raises ValueError: (also TypeError, KeyError) where it cannot"""
        if len(steps) != len(self):
            raise ValueError(clock)
        ahead = {step: by + more for step, more in STEPS.items()}
        shown: list[int | None] = self.moved.get(clock) or [None] * len(self)
        as_read = list(compress(range(len(shown)), map(is_, shown, repeat(None))))
        still = [at for at in as_read if steps[at] == "."]
        try:
            if not -_MOST_BY < by < _MOST_BY:
                raise _OddClockError
            begins: list[Any] = list(shown)
            for at in as_read:
                begins[at] = 0 if steps[at] == "." else _milliseconds(self[at].get(clock))
        except _OddClockError:
            self._move_odd(clock, ahead, steps)
            return
        moved: list[int | None] = list(map(add, begins, map((ahead | {".": 0}).__getitem__, steps)))
        for at in still:
            moved[at] = None
        self.moved[clock] = moved

    def _move_odd(self, clock: str, ahead: dict[str, int], steps: Sequence[str]) -> None:
        for place, step in enumerate(steps):
            if step != ".":
                record = self.settled(place)
                self.put(place, record | {clock: (round(float(record[clock]) * 1000) + ahead[step]) / 1000})


def _milliseconds(seconds: Any) -> int:
    if type(seconds) not in (int, float) or not -_MOST < seconds * 1000 < _MOST:
        raise _OddClockError
    return round(float(seconds) * 1000)
