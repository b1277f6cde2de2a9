"""The tasks of a snapshot by their ``fs_struct``: in which order the groups stand, and which rows a filter leaves.

Most groups of a large machine have one task, and a filter lays all of them out anew at every key. So the tasks are kept
in one sequence, group after group, and a filter is applied to the whole of it at once; a group becomes an object only
when its head is on the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress

from explorer.analysis import WORLD_ORDER, WorldKey, world_of
from explorer.analysis.query import Mask, TaskIndex
from explorer.model import FsStruct

__all__ = ("Group", "TaskGroups")

#: Says whether a group, by its code, shows its members.
IsOpen = Callable[[int], bool]


@dataclass(slots=True)
class Group:
    """The tasks of one ``fs_struct``; those that have exited have none, and are a group too."""

    code: int
    """Its place in :attr:`TaskIndex.fs`."""
    world: WorldKey
    fs: FsStruct | None
    members: list[int]
    """Places of tasks, in the order in which they are shown."""
    who: str | None = None
    """What its head says of them, once that has been asked for."""
    keys: frozenset[int] | None = None
    """The addresses of its tasks, once they have been asked for."""


class TaskGroups:
    """All groups of a snapshot. A visible row is a task's place, or ``-1 - code`` for a group's head.

    A group of one task has no head: the task stands for it.
    """

    def __init__(self, index: TaskIndex) -> None:
        self._snapshot = index.snapshot
        self._fs = index.fs
        self._members: list[list[int]] = [[] for _ in index.fs.values]
        for place, code in enumerate(index.fs.codes):
            self._members[code].append(place)
        self.codes: Sequence[int] = range(len(self._members))
        self._worlds = [world_of(index.tasks[places[0]], index.snapshot) for places in self._members]
        self._exited = index.fs.values.index(None) if None in index.fs.values else None
        self._places: list[int] = []
        """All tasks, group after group: world by world, the well-known ``fs_structs`` first."""
        self._runs: list[tuple[int, int, int | None]] = []
        """Parts of :attr:`_places`: first, end, and the code of the group; ``None``: many groups of one task each."""
        for code in self._in_order():
            self._add(code)

    def _in_order(self) -> list[int]:
        kernel, values = self._snapshot.kernel, self._fs.values
        names = (kernel.init_fs, kernel.userspace_init_fs)
        rank = {world: number for number, world in enumerate(WORLD_ORDER)}

        def key(code: int) -> tuple[int, bool, int, int]:
            address = values[code]
            named = address is not None and address in names
            return rank[self._worlds[code]], not named, -len(self._members[code]), address or 0

        return sorted(self.codes, key=key)

    def _add(self, code: int) -> None:
        first = len(self._places)
        self._places += self._members[code]
        if self.is_many(code):
            self._runs.append((first, len(self._places), code))
        elif self._runs and self._runs[-1][2] is None:
            self._runs[-1] = (self._runs[-1][0], len(self._places), None)
        else:
            self._runs.append((first, len(self._places), None))

    def size(self, code: int) -> int:
        """Tasks of a group, whatever the filter says."""
        return len(self._members[code])

    def is_many(self, code: int) -> bool:
        """Whether a group has a head, because more than one task is in it."""
        return len(self._members[code]) > 1

    def make(self, code: int, members: list[int]) -> Group:
        """A group as an object, with those of its members that are shown."""
        fs = self._snapshot.fs_by_address.get(self._fs.values[code] or 0)
        return Group(code, self._worlds[code], fs, members)

    def members(self, code: int, mask: Mask) -> list[int]:
        """The tasks of a group that a mask selects, in the snapshot's order."""
        return [place for place in self._members[code] if mask[place]]

    def count_structs(self, mask: Mask) -> int:
        """``fs_structs`` with a task that a mask selects."""
        if mask.find(0) < 0:
            return len(self._members) - (self._exited is not None)
        codes = set(compress(self._fs.codes, mask))
        return len(codes) - (self._exited in codes)

    # -- rows ------------------------------------------------------------------------------------------------

    def lay_out(self, mask: Mask, is_open: IsOpen) -> tuple[list[int], int]:
        """The visible rows, world by world, and of how many ``fs_structs`` they are."""
        places, hits = self._places, bytes(map(mask.__getitem__, self._places))
        visible: list[int] = []
        structs = 0
        for first, end, code in self._runs:
            if hits.find(1, first, end) < 0:
                continue
            if code is None:
                before = len(visible)
                visible += compress(places[first:end], hits[first:end])
                structs += len(visible) - before
            else:
                visible.append(-1 - code)
                structs += 1
                if is_open(code):
                    visible += compress(places[first:end], hits[first:end])
        return visible, structs - self._has_exited(mask)

    def _has_exited(self, mask: Mask) -> bool:
        return self._exited is not None and any(mask[place] for place in self._members[self._exited])

    def lay_out_sorted(
        self, order: Sequence[int], is_open: IsOpen
    ) -> tuple[list[int], int, dict[int, list[int]]]:
        """The same with the tasks in a given order; and the members of the groups with a head, in that order.

        A group stands where its first member does.
        """
        codes, sizes = self._fs.codes, list(map(len, self._members))
        rows: list[int] = []
        members: dict[int, list[int]] = {}
        for place in order:
            code = codes[place]
            if sizes[code] == 1:
                rows.append(place)
            elif code in members:
                members[code].append(place)
            else:
                members[code] = [place]
                rows.append(-1 - code)
        exited = self._exited is not None and any(codes[place] == self._exited for place in order)
        visible: list[int] = []
        first = 0
        heads = [at for at, row in enumerate(rows) if row < 0 and is_open(-1 - row)]
        for at in heads:
            visible += rows[first : at + 1]
            visible += members[-1 - rows[at]]
            first = at + 1
        visible += rows[first:]
        return visible, len(rows) - exited, members
