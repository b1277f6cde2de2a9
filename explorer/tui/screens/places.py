"""Where one was: the places that one jumped from, and the way back along them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from explorer.model import Reference

__all__ = ("HOME", "Place", "Places")

#: The mode of the screen that the others are reached from.
HOME = "overview"
#: The oldest are forgotten.
_MOST_PLACES = 100
#: Of the way that the header tells.
_MOST_CRUMBS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A screen as it was when something led away from it."""

    mode: str
    crumbs: tuple[str, ...]
    """What the header says of it: the screen with its filter, then what was followed in its detail; escaped."""
    focus: str = ""
    """The id of what had the keyboard."""
    row: int = 0
    selected: Reference | None = None
    """What the row under the cursor was about."""
    query: str = ""
    """What was in the filter."""
    followed: tuple[Reference, ...] = ()
    """What was followed in the detail pane, from what the row is about on."""
    line: int = 0
    """Of the detail pane, where it had the keyboard."""
    only: Reference | None = None
    """The namespace that the mounts were restricted to."""

    def is_at(self, reference: Reference | None) -> bool:
        """Whether it was about this object, whatever that is called by now."""
        if reference is None or self.selected is None:
            return reference is self.selected
        return (reference.kind, reference.address) == (self.selected.kind, self.selected.address)


class Places:
    """The places that one has left, the last at the end."""

    def __init__(self) -> None:
        self._left: deque[Place] = deque(maxlen=_MOST_PLACES)

    def __len__(self) -> int:
        return len(self._left)

    def leave(self, place: Place) -> None:
        """Remember where one was."""
        self._left.append(place)

    def back(self) -> Place | None:
        """Where one came from, no longer remembered then; ``None``: this is where one began."""
        return self._left.pop() if self._left else None

    @property
    def crumbs(self) -> Sequence[str]:
        """How one got here from the overview: bounded, and no screen twice in a row."""
        way: list[str] = []
        for place in self._left:
            if place.mode == HOME:
                way.clear()
            else:
                way += [crumb for crumb in place.crumbs if way[-1:] != [crumb]]
        return way if len(way) <= _MOST_CRUMBS else ["…", *way[-_MOST_CRUMBS:]]
