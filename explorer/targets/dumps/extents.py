"""Which bytes of a dump are there: sorted ranges, and what they leave out."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator

__all__ = ("Extents",)


class Extents:
    """Disjoint ranges (first, end) in ascending order. :param ranges: in any order; they may overlap"""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, end in sorted(ranges):
            if first >= end:
                continue
            if self._ends and first <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(first)
                self._ends.append(end)

    @classmethod
    def of_file(cls, fd: int) -> Extents:
        """All of a file, as it is."""
        return cls([(0, os.fstat(fd).st_size)])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    @property
    def size(self) -> int:
        """Bytes, all together."""
        return sum(self._ends) - sum(self._starts)

    @property
    def reach(self) -> int:
        """The end of the last one; 0 if there is none."""
        return self._ends[-1] if self._ends else 0

    def covers(self, first: int, end: int) -> bool:
        """Whether all of a range is there."""
        at = bisect_right(self._starts, first) - 1
        return first >= end or (at >= 0 and end <= self._ends[at])

    def within(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that are there."""
        at = max(bisect_right(self._starts, first) - 1, 0)
        while at < len(self._starts) and self._starts[at] < end:
            low, high = max(first, self._starts[at]), min(end, self._ends[at])
            if low < high:
                yield low, high
            at += 1

    def missing(self, first: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that are not there."""
        for low, high in self.within(first, end):
            if first < low:
                yield first, low
            first = high
        if first < end:
            yield first, end
