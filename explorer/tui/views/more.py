"""What the overview says below the findings where there is room: who borrows, what is shared, the kernel's settings."""

from __future__ import annotations

import heapq
from collections import defaultdict
from dataclasses import dataclass

from explorer.analysis import Worlds
from explorer.model import FsStruct, Snapshot, comm_and_pid, escape_text, fs_name, is_isolating, known
from explorer.naming import count, moments, name_label, path_label, runs_label
from explorer.output import fit, fit_middle
from explorer.tui.views.details import FOUND_WORDS

from .overview import Door

__all__ = ("MoreOverview", "make_more")

_MOST_LINES = 8
_MOST_NAMES = 3
#: Terminal columns of a name, of a value and of a whole line; a terminal that has fewer cuts its end off.
_NAME, _VALUE, _LINE = 24, 40, 120
#: Of the kernel's settings, those that come in numbers and are tried one after the other.
_MANY = "fw_path["


@dataclass(frozen=True, slots=True)
class MoreOverview:
    """Three boxes; all text is escaped."""

    borrowers: Door | None
    """``None`` on kernels on which nobody can borrow."""
    shared: Door
    kernel: Door
    """Leads nowhere: what it says is of no tasks."""


def make_more(snapshot: Snapshot, worlds: Worlds) -> MoreOverview:
    isolating = is_isolating(snapshot.kernel.generation)
    return MoreOverview(
        _borrowers(snapshot, worlds) if isolating else None, _shared(snapshot), _kernel(snapshot)
    )


def _door(title: str, lines: list[str], none: str, query: str, tasks: int) -> Door:
    return Door(title, title, tuple(fit(line, _LINE) for line in lines or [none]), query, tasks)


def _and_more(lines: list[str], total: int) -> list[str]:
    return lines if total <= len(lines) else [*lines[:-1], f"and {total - len(lines) + 1} more"]


def _borrowers(snapshot: Snapshot, worlds: Worlds) -> Door:
    """What each is at, with the time that it has taken."""
    found = worlds.borrowers
    lines = [
        f"{fit(comm_and_pid(name_label(task), task.pid), _NAME)}  {runs_label(task, snapshot)}"
        for task in found[:_MOST_LINES]
    ]
    return _door("borrowing now", _and_more(lines, len(found)), "nobody", "borrowing", len(found))


def _shared(snapshot: Snapshot) -> Door:
    """The ``fs_structs`` that most tasks share, with the first who do."""
    shared = [fs for fs in snapshot.fs_structs if fs.sharers > 1]
    most = heapq.nsmallest(_MOST_LINES, shared, key=lambda fs: (-fs.sharers, fs.address))
    who: dict[int, list[str]] = defaultdict(list)
    wanted = {fs.address for fs in most}
    for task in snapshot.tasks:
        if task.owned_fs in wanted and len(who[task.owned_fs or 0]) < _MOST_NAMES:
            who[task.owned_fs or 0].append(fit(name_label(task), _NAME))
    lines = [_shared_line(fs, who[fs.address], snapshot) for fs in most]
    tasks = sum(fs.sharers for fs in shared)
    return _door("shared fs_structs", _and_more(lines, len(shared)), "none", "sharers>1", tasks)


def _shared_line(fs: FsStruct, who: list[str], snapshot: Snapshot) -> str:
    more = f" and {fs.sharers - len(who)} more" if fs.sharers > len(who) else ""
    root = fit_middle(path_label(fs.root, snapshot), _NAME)
    return f"{fs.sharers:>5}  {fs_name(fs.address, snapshot.kernel):<18}  {root}  {', '.join(who)}{more}"


def _kernel(snapshot: Snapshot) -> Door:
    """What is missing first; then when it was, how much there is, and which paths it opens by itself."""
    lines = [
        f"not readable  {escape_text(fit(error.where, _VALUE))}: {escape_text(fit(error.what, _VALUE))}"
        for error in snapshot.errors[:1]
    ]
    if len(snapshot.errors) > 1:
        lines.append(f"              and {len(snapshot.errors) - 1} more: K shows them")
    lines += [f"{what:<13} {escape_text(fit(when, _VALUE))}" for what, when in moments(snapshot.capture)]
    namespaces = count(len(snapshot.mount_namespaces), "mount namespace")
    lines.append(f"{'mounts':<13} {len(snapshot.mounts)} in {namespaces}")
    for setting in snapshot.settings:
        if setting.path is not None and not setting.name.startswith(_MANY):
            value = escape_text(fit(known(setting.value), _VALUE))
            lines.append(f"{escape_text(fit(setting.name, _NAME)):<13} {value}  {FOUND_WORDS[setting.found]}")
    if snapshot.kernel.cmdline is not None:
        lines.append(f"{'command line':<13} {escape_text(fit(snapshot.kernel.cmdline, _LINE))}")
    return _door("this kernel", _and_more(lines[:_MOST_LINES], len(lines)), "", "", 0)
