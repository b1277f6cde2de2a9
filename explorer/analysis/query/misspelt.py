"""Words that are nearly another one: by how many slips of the hand they differ."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ("edit_distance", "nearly")

#: Of words of so many letters and more, two slips are taken for one word; of shorter ones, one.
_LONG = 8
_MOST_SLIPS = 2


def nearly(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Which known words ``word`` is a misspelling of, nearest first; none of what is just another word.

    Few get the first letter wrong, and many words differ in it alone (*talking*, *walking*): it must be right, or
    have changed places with the second.
    """
    near = []
    for other in known:
        most = _MOST_SLIPS if len(other) >= _LONG else 1
        swapped = word[:2] == other[1::-1]
        if abs(len(word) - len(other)) > most or not (word[:1] == other[:1] or swapped):
            continue
        distance = edit_distance(word, other)
        if 0 < distance <= most:
            near.append((distance, other))
    return tuple(other for _, other in sorted(near))


def edit_distance(one: str, other: str) -> int:
    """How many letters must be put in, left out, replaced, or swapped with their neighbours (once each)."""
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, opposite in enumerate(other, 1):
            best = min(above[column] + 1, line[-1] + 1, above[column - 1] + (letter != opposite))
            if row > 1 and column > 1 and (letter, one[row - 2]) == (other[column - 2], opposite):
                best = min(best, before[column - 2] + 1)
            line.append(best)
        before, above = above, line
    return above[-1]
