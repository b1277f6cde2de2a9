"""The tasks of a snapshot as rows, and the orders they can be put in: each worked out once, when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from explorer.analysis.query import LABEL_COLUMNS, LabelColumn, Scope, TaskIndex, TaskRow
from explorer.model import Task, known

__all__ = ("TaskRows",)

_BY_NAME = {column.name: column for column in LABEL_COLUMNS}


class TaskRows(Sequence[TaskRow]):
    """Rows by the place of their task in the snapshot. A row is made when it is looked at."""

    def __init__(self, index: TaskIndex) -> None:
        self.task_index = index
        self._tasks: list[Task] = index.tasks
        self._orders: dict[tuple[str, bool], list[int]] = {}
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        task = self._tasks[place]
        return TaskRow(task, self.task_index.snapshot.fs_of(task), self.task_index.snapshot)

    def place_of(self, address: int | None) -> int | None:
        """The place of the task at an address."""
        if not self._places:
            self._places = {task.address: place for place, task in enumerate(self._tasks)}
        return None if address is None else self._places.get(address)

    def order(self, name: str, descending: bool) -> list[int]:
        """The places of all tasks, ordered by a column of ``LABEL_COLUMNS``; equals stay in the snapshot's order."""
        order = self._orders.get((name, descending))
        if order is None:
            keys = self._keys(_BY_NAME[name])
            order = sorted(range(len(self)), key=keys.__getitem__, reverse=descending)
            self._orders[name, descending] = order
        return order

    def _keys(self, column: LabelColumn) -> Sequence[Any]:
        """What each task is ordered by; where few values stand for many tasks, the rank of its value."""
        snapshot = self.task_index.snapshot
        if column.scope is Scope.FS:
            codes = self.task_index.fs.codes
            examples = dict(zip(reversed(codes), range(len(self) - 1, -1, -1), strict=True))
            values = [column.sort(self[examples[code]]) for code in range(len(self.task_index.fs.values))]
        elif column.is_fact:
            shared = self.task_index.column(column.name)
            codes, values = shared.codes, list(map(known, shared.values))
        else:
            return [column.sort(TaskRow(task, None, snapshot)) for task in self._tasks]
        rank = {value: number for number, value in enumerate(sorted(set(values)))}
        ranks = [rank[value] for value in values]
        return [ranks[code] for code in codes]
