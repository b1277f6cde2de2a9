"""A diff of two snapshots, for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from explorer.model import (
    Change,
    DiffSide,
    ObjectChange,
    ObjectState,
    Regrouping,
    SnapshotDiff,
    TaskChange,
    TaskLabel,
    WorkerGroup,
    comm_and_pid,
    escape_text,
    known,
)

__all__ = ("diff_json", "render_diff")

_SIGNS = {ObjectState.ADDED: "+", ObjectState.GONE: "-", ObjectState.CHANGED: "~"}
_MOST_NAMES = 6
#: More tasks than these that changed in the same way become one entry.
_MOST_ALIKE = 3


def diff_json(diff: SnapshotDiff) -> str:
    """The document of :class:`explorer.model.diff.SnapshotDiff`; everything outside ASCII is escaped."""
    return json.dumps(diff.model_dump(mode="json"), indent=2)


def render_diff(diff: SnapshotDiff, a: str, b: str) -> list[str]:
    """Lines of text: ``+`` added, ``-`` gone, ``~`` changed; sections without a difference are left out.

    :param a: what to call the first target
    """
    lines = [_side("A", a, diff.a), _side("B", b, diff.b)]
    boot = "The same boot" if diff.same_boot else "Different boots"
    lines.append(f"{boot}: tasks are matched by {diff.matched_by}.")
    counts = f"{len(diff.came)} added, {len(diff.went)} gone, {len(diff.changed)} changed"
    sections: list[tuple[str, Sequence[str]]] = [
        ("Kernel", [f"  ~ {_change(change)}" for change in diff.kernel]),
        (f"Tasks: {counts}", list(_tasks(diff))),
        ("Kernel workers that live elsewhere", list(_workers(diff.workers))),
        ("fs_structs regrouped", [line for group in diff.regrouped for line in _regrouping(group)]),
        ("Mounts", list(_objects(diff.mounts))),
        ("Mount namespaces", list(_objects(diff.mount_namespaces))),
    ]
    for title, body in sections:
        if body:
            lines += ["", title, *body]
    if not diff.differs:
        lines += ["", "No differences.", *_numbers(diff.workers)]
    if diff.a.errors or diff.b.errors:
        lines += ["", f"Values that could not be read: {diff.a.errors} in A, {diff.b.errors} in B."]
    return lines


def _numbers(groups: Iterable[WorkerGroup]) -> Iterator[str]:
    """How many kworkers there are is no difference, for it changes by the moment; it is said all the same."""
    pairs = [(group.name, sum(group.before.values()), sum(group.after.values())) for group in groups]
    changed = [f"{escape_text(name)} {before} → {after}" for name, before, after in pairs if before != after]
    if changed:
        yield f"Numbers that come and go are not compared: {', '.join(changed)}."


def _side(letter: str, name: str, side: DiffSide) -> str:
    return (
        f"{letter}  {escape_text(name)}: Linux {escape_text(side.release)} ({side.generation}), "
        f"{side.tasks} tasks, {escape_text(side.moment)}"
    )


def _text(value: str | None) -> str:
    return "none" if value is None else escape_text(value)


def _change(change: Change) -> str:
    return escape_text(change.text)


def _label(label: TaskLabel) -> str:
    name = escape_text(label.comm) or '""'
    return f"{label.pid} {name} ({known(label.kind)})"


def _tasks(diff: SnapshotDiff) -> Iterator[str]:
    for sign, labels in (("+", diff.came), ("-", diff.went)):
        for label in labels:
            yield f"  {sign} {_label(label)}: owner {known(label.owner)}, root {_text(label.root)}"
    folded: dict[tuple[str, ...], list[TaskChange]] = {}
    for changed in diff.changed:
        folded.setdefault(tuple(map(_change, changed.changes)), []).append(changed)
    for changes, group in folded.items():
        if len(group) > _MOST_ALIKE:
            names = [comm_and_pid(changed.after.comm, changed.after.pid) for changed in group]
            yield f"  ~ {len(group)} tasks alike: {_names(names)}"
            yield from (f"      {change}" for change in changes)
            continue
        for changed in group:
            moved = changed.before.pid != changed.after.pid
            yield f"  ~ {_label(changed.after)}{f', pid {changed.before.pid} in A' if moved else ''}"
            yield from (f"      {change}" for change in changes)


def _workers(groups: Iterable[WorkerGroup]) -> Iterator[str]:
    for group in groups:
        if group.differs:
            yield f"  ~ {escape_text(group.name)}"
            for sign, homes in (("-", group.before), ("+", group.after)):
                yield from (f"      {sign} {count} in {escape_text(home)}" for home, count in homes.items())


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(map(escape_text, names[:_MOST_NAMES]))
    return shown if len(names) <= _MOST_NAMES else f"{shown} and {len(names) - _MOST_NAMES} more"


def _regrouping(group: Regrouping) -> Iterator[str]:
    yield f"  ~ {escape_text(group.fs)}, in A {_names(group.came_from)}: shared by {_names(group.sharers)}"
    if group.joined:
        yield f"      joined: {_names(group.joined)}"
    if group.left:
        yield f"      left: {_names(group.left)}"


def _objects(changes: Iterable[ObjectChange]) -> Iterator[str]:
    for changed in changes:
        yield f"  {_SIGNS[changed.state]} {escape_text(changed.name)}"
        yield from (f"      {_change(change)}" for change in changed.changes)
