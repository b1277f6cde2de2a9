"""What was used last, up to a number of entries and to a weight of all together."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

__all__ = ("WeighedCache",)

_V = TypeVar("_V")


class WeighedCache(Generic[_V]):
    """Values by number. The last one is kept whatever its weight is: a neighbour is made from it."""

    def __init__(self, most: int, most_weight: int) -> None:
        self._most, self._most_weight = most, most_weight
        self._entries: OrderedDict[int, tuple[_V, int]] = OrderedDict()
        self.weight = 0

    def __contains__(self, key: int) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: int) -> tuple[_V, int] | None:
        """A value and its weight, now the one used last; ``None`` if it is not there."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: int, value: _V, weight: int) -> None:
        """Keep a value, and let go what was not used for longest, as far as must be."""
        if key in self._entries:
            self.weight -= self._entries.pop(key)[1]
        self._entries[key] = (value, weight)
        self.weight += weight
        while len(self._entries) > 1 and (len(self._entries) > self._most or self.weight > self._most_weight):
            self.weight -= self._entries.popitem(last=False)[1][1]
