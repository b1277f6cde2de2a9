"""Path lookups as rows: each as it happened, or counted by who asked; and all that is known of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from explorer.analysis.lookups import (
    LOOKUP_FIELDS,
    MEANINGS,
    Judged,
    LookupMeaning,
    asking_key,
    frame_label,
    path_words,
    place_words,
    result_name,
)
from explorer.analysis.query import FieldType, RowField, RowIndex
from explorer.model import (
    Lookup,
    LookupPlace,
    Reference,
    Snapshot,
    TraceHeader,
    comm_and_pid,
    escape_text,
    hex_address,
    mount_reference,
    task_reference,
)
from explorer.naming import count, utc_of
from explorer.tui.views.details import ColumnValue, Detail, Fact, RecordTable

from .table import Cell, ViewColumn

__all__ = (
    "LookupGroup",
    "LookupRow",
    "LookupTable",
    "describe_lookup",
    "describe_lookups",
    "group_lookups",
    "groups_table",
    "lookups_table",
    "row_maker",
)

_TONES = {
    LookupMeaning.FAILS: "bad",
    LookupMeaning.WOULD_FAIL: "bad",
    LookupMeaning.EMPTY: "warn",
    LookupMeaning.UNKNOWN: "warn",
    LookupMeaning.BORROWED: "good",
    LookupMeaning.CONVERTED: "good",
}
#: The worst first.
_ORDER = {meaning: number for number, meaning in enumerate(MEANINGS)}
_NOBODY = "?"
#: Of a group, so many paths are named.
_MOST_PATHS = 10
_MOST_FRAMES = 1024


@dataclass(slots=True, eq=False)
class LookupRow:
    """A lookup, what it means, and its text once that was asked for."""

    number: int
    """Counts those of a trace, in the order in which they ended."""
    judged: Judged
    began: datetime | None
    """``None``: the trace does not say when the machine was started, or the time makes no sense."""
    size: int = 0
    """Of the line that it came in."""
    cells: tuple[Cell, ...] | None = None

    @property
    def lookup(self) -> Lookup:
        return self.judged.lookup

    @property
    def asker(self) -> str:
        """Not escaped."""
        return _NOBODY if self.judged.asker is None else self.judged.asker.label

    @property
    def clock(self) -> str:
        """``01:42:03.123``, UTC; or seconds since boot."""
        if self.began is None:
            return f"{self.lookup.time_s:.3f} s"
        return f"{self.began:%H:%M:%S}.{self.began.microsecond // 1000:03}"


def row_maker(header: TraceHeader) -> Callable[[int, Judged, int], LookupRow]:
    """Makes the rows of one trace: of a number, a lookup that was judged, and the length of its line."""
    boot = utc_of(header.boot_at)  # a stranger's file may say anything

    def make(number: int, judged: Judged, size: int = 0) -> LookupRow:
        began = None
        with suppress(OverflowError):  # beyond all years
            began = None if boot is None else boot + timedelta(seconds=judged.lookup.time_s)
        return LookupRow(number, judged, began, size)

    return make


def who(lookup: Lookup) -> str:
    """``kworker/0:1 (29)``; escaped."""
    return comm_and_pid(escape_text(lookup.comm), lookup.pid)


def path_text(lookup: Lookup) -> str:
    """Escaped; what was cut off is said."""
    return escape_text(path_words(lookup))


class LookupTable(RecordTable[LookupRow]):
    """Rows are known by their number, however alike they look. A filter has the fields of ``trace --where``, too."""

    @cached_property
    def _keys(self) -> list[Hashable]:
        return [row.number for row in self._all]

    def find(self, reference: Reference) -> int | None:
        return next(
            (place for place, row in enumerate(self.records) if reference.label == _label(row.number)), None
        )

    @cached_property
    def index(self) -> RowIndex:
        fields = dict.fromkeys(self._names.values(), RowField(""))
        for column in self.columns:
            name = self._names[column.name]
            fields[name] = RowField(name, order=self._values.get(column.name, ColumnValue()).order)
        for name, field in LOOKUP_FIELDS.items():
            order = fields[name].order if name in fields else None
            fields[name] = replace(field, get=_of_row(field), order=order)
        return RowIndex(
            list(fields.values()), self._all, lambda row: [cell.text for cell in self._cells(row)]
        )

    def values_of(self, name: str) -> Sequence[str]:
        if name not in LOOKUP_FIELDS:
            return super().values_of(name)
        return LOOKUP_FIELDS[name].choices or self.index.offers(name)


def _of_row(field: RowField) -> Callable[[LookupRow], Any]:
    """A field of a lookup that was judged, asked of its row."""
    get = field.get
    assert get is not None, field.name
    return lambda row: get(row.judged)


_COLUMNS = (
    ViewColumn("time", "TIME", 12, rank=3),
    ViewColumn("who", "WHO", 18, 1, rank=1),
    ViewColumn("path", "PATH", 15, 3),
    ViewColumn("start", "START", 11, rank=5),
    ViewColumn("result", "RESULT", 6, rank=2),
    ViewColumn("asker", "ASKED BY", 18, 2, rank=4),
    ViewColumn("means", "MEANS", 20, 1),
)


def _cells(row: LookupRow) -> tuple[Cell, ...]:
    if row.cells is None:
        lookup, meaning = row.lookup, row.judged.meaning
        tone = _TONES.get(meaning.kind, "muted")
        row.cells = (
            Cell(row.clock, "muted"),
            Cell(who(lookup)),
            Cell(path_text(lookup)),
            Cell(escape_text(place_words(lookup.start))),
            Cell(result_name(lookup.result), "warn" if lookup.result is None else ""),
            Cell(escape_text(row.asker)),
            Cell(escape_text(meaning.says), tone),
        )
    return row.cells


_VALUES = {
    "time": ColumnValue(order=lambda row: (row.lookup.time_s, row.number)),
    "means": ColumnValue(order=lambda row: (_ORDER[row.judged.meaning.kind], row.judged.meaning.says)),
}


def lookups_table(rows: Sequence[LookupRow]) -> LookupTable:
    """A row a lookup, as they are given: newest first."""
    return LookupTable(_COLUMNS, rows, _cells, lambda row: _numbered(row.number), _VALUES)


def _label(number: int) -> str:
    return f"lookup {number}"


def _numbered(number: int) -> Reference:
    return Reference(kind="kernel", address=None, label=_label(number))


# -- by who asked --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class LookupGroup:
    """Lookups that one function asked for and that mean the same, as the summary of ``trace`` has them."""

    number: int
    """Of the group, in the order in which they came."""
    rows: tuple[LookupRow, ...]
    """Newest first."""
    results: tuple[tuple[str, int], ...]
    """The most frequent first."""
    paths: tuple[tuple[str, int], ...]
    """Escaped; the most frequent first."""

    @property
    def asker(self) -> str:
        """Who asked, and the module that called it, if another; escaped."""
        judged = self.last.judged
        is_other = judged.asker is not None and judged.asker.module is None and judged.module is not None
        return escape_text(f"{self.last.asker}{f', called by {judged.module}' if is_other else ''}")

    @property
    def first(self) -> LookupRow:
        return self.rows[-1]

    @property
    def last(self) -> LookupRow:
        return self.rows[0]

    @property
    def reference(self) -> Reference:
        """The group keeps it while others come."""
        return Reference(kind="kernel", address=None, label=f"those who asked, {self.number}")


def group_lookups(rows: Iterable[LookupRow]) -> list[LookupGroup]:
    """By who asked and what it means: the worst first, then the most. :param rows: newest first"""
    by: dict[Hashable, list[LookupRow]] = {}
    for row in rows:
        by.setdefault(asking_key(row.judged), []).append(row)
    groups = [
        LookupGroup(
            members[-1].number,
            tuple(members),
            tuple(Counter(result_name(row.lookup.result) for row in members).most_common()),
            tuple(Counter(path_text(row.lookup) for row in members).most_common()),
        )
        for members in by.values()
    ]
    return sorted(groups, key=lambda group: (_ORDER[group.last.judged.meaning.kind], -len(group.rows)))


_GROUP_COLUMNS = (
    ViewColumn("count", "COUNT", 6, numeric=True),
    ViewColumn("asker", "ASKED BY", 18, 2),
    ViewColumn("first", "FIRST", 12, rank=3),
    ViewColumn("last", "LAST", 12, rank=2),
    ViewColumn("paths", "PATHS", 5, numeric=True, rank=4),
    ViewColumn("results", "RESULTS", 14, 1, rank=1),
    ViewColumn("means", "MEANS", 22, 1),
)


def groups_table(groups: Sequence[LookupGroup]) -> RecordTable[LookupGroup]:
    """A row for each that asked."""

    def cells(group: LookupGroup) -> list[Cell]:
        meaning = group.last.judged.meaning
        return [
            Cell(str(len(group.rows))),
            Cell(group.asker),
            Cell(group.first.clock, "muted"),
            Cell(group.last.clock, "muted"),
            Cell(str(len(group.paths))),
            Cell(_counted(group.results)),
            Cell(escape_text(meaning.says), _TONES.get(meaning.kind, "muted")),
        ]

    values = {
        "count": ColumnValue(FieldType.NUMBER, lambda group: len(group.rows)),
        "paths": ColumnValue(FieldType.NUMBER, lambda group: len(group.paths)),
        "first": ColumnValue(order=lambda group: group.first.lookup.time_s),
        "last": ColumnValue(order=lambda group: group.last.lookup.time_s),
        "means": ColumnValue(order=lambda group: _ORDER[group.last.judged.meaning.kind]),
    }
    return RecordTable(
        _GROUP_COLUMNS,
        groups,
        cells,
        lambda group: group.reference,
        values,
    )


def _counted(results: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in results)


# -- details -------------------------------------------------------------------------------------------------


def describe_lookup(row: LookupRow, snapshot: Snapshot | None) -> Detail:
    """All that is known of a lookup. :param snapshot: of the same kernel: leads to the task and the mounts"""
    lookup, meaning = row.lookup, row.judged.meaning
    task = None if snapshot is None else _task_of(lookup, snapshot)
    detail = Detail(task or _numbered(row.number), f"lookup by {who(lookup)}")
    detail.add_text("path", path_text(lookup))
    if lookup.path_cut:
        detail.add("", "the path goes on: an event of this kernel takes no more", tone="warn")
    tone = _TONES.get(meaning.kind, "")
    detail.add("means", meaning.says, tone=tone)
    detail.add("", meaning.explanation)
    detail.add("what to do", meaning.do)
    _add_result(detail, lookup)
    detail.add("asked by", _asked_by(row))
    _add_runs(detail, row)
    kind = "" if lookup.kind is None else f"  {lookup.kind.value}"
    detail.facts.append(Fact("task", f"{who(lookup)}{kind}", task))
    if snapshot is not None and task is None:
        detail.add("", "it is not among the tasks that were read", tone="muted")
    detail.add(
        "in kernel", "yes: no program asked for it" if lookup.in_kernel else "no: a program asked for it"
    )
    for name, place in (("start", lookup.start), ("root", lookup.root)):
        _add_place(detail, name, place, snapshot)
    detail.add("time", _when(row))
    detail.add("cpu", lookup.cpu)
    if lookup.tries != 1:
        detail.add("tries", f"{lookup.tries}: the kernel began it again")
    detail.add("flags", None if lookup.flags is None else hex_address(lookup.flags))
    if lookup.stack is None:
        detail.add("stack", "lost", tone="warn")
    for frame in (lookup.stack or ())[:_MOST_FRAMES]:
        detail.add("stack", frame_label(frame))
    return detail


def _when(row: LookupRow) -> str:
    since = f"{row.lookup.time_s:.6f} s after boot"
    return since if row.began is None else f"{row.began:%Y-%m-%d %H:%M:%S.%f} UTC, {since}"


def _add_result(detail: Detail, lookup: Lookup) -> None:
    if lookup.result is None:
        detail.add(
            "result", "not known: it had not ended when the trace did, or its end was lost", tone="warn"
        )
    else:
        name = result_name(lookup.result)
        detail.add("result", name if lookup.result == 0 else f"{name} ({lookup.result})")


def _asked_by(row: LookupRow) -> str:
    asker = row.judged.asker
    if asker is None:
        return "not known"
    if asker.module is None:
        return f"{asker.function}, of the kernel itself"
    if asker.taint is None:
        return f"{asker.function}, of module {asker.module}, which came after the trace began"
    taint = f"taints the kernel: {asker.taint}" if asker.taint else "of the distribution"
    return f"{asker.function}, of module {asker.module} ({taint})"


def _add_runs(detail: Detail, row: LookupRow) -> None:
    module, runs = row.judged.module, row.judged.runs
    asker = row.judged.asker
    if module is not None and (asker is None or asker.module is None):
        detail.add("module", f"{module}, which called it")
    if runs is not None:
        of = "" if runs.module is None else f" [{runs.module}]"
        detail.add("work", None if runs.work is None else f"{runs.work}{of}")
        detail.add("workqueue", row.judged.lookup.workqueue)
        detail.add("thread", runs.thread)


def _task_of(lookup: Lookup, snapshot: Snapshot) -> Reference | None:
    task = next((task for task in snapshot.tasks if task.pid == lookup.pid), None)
    return None if task is None else task_reference(task)


def _add_place(detail: Detail, name: str, place: LookupPlace | None, snapshot: Snapshot | None) -> None:
    if place is None:
        detail.add(name, "not set" if name == "root" else "not known")
        return
    words = "" if place.placement is None else f"  ({place.placement.value})"
    mount = None if snapshot is None else snapshot.mount_by_address.get(place.mount)
    target = None if mount is None else mount_reference(mount)
    label = escape_text(place_words(place))
    words = "" if label in words else words
    detail.facts.append(Fact(name, f"{label}{words}  {hex_address(place.mount)}", target))


def describe_lookups(group: LookupGroup, snapshot: Snapshot | None) -> Detail:
    """What one function asked for, and all of the newest lookup of these."""
    detail = Detail(group.reference, f"{count(len(group.rows), 'lookup')} asked for by {group.asker}")
    detail.add_text("results", _counted(group.results))
    detail.add_text("first", group.first.clock)
    detail.add_text("last", group.last.clock)
    for path, number in group.paths[:_MOST_PATHS]:
        detail.add_text("path", f"{path}  {number}×" if number > 1 else path)
    if len(group.paths) > _MOST_PATHS:
        detail.add("path", f"and {len(group.paths) - _MOST_PATHS} more", tone="muted")
    if len(group.rows) > 1:
        detail.add("the newest", f"of {len(group.rows)}:")
    detail.facts += describe_lookup(group.last, snapshot).facts
    return detail
