"""What the first screen says: the verdict, two worlds and who crosses between them, the other worlds, what ``/`` is."""

from __future__ import annotations

import re
from dataclasses import dataclass

from explorer.analysis import (
    World,
    WorldKey,
    Worlds,
    books_of,
    expected_users,
    find_abandonment,
    find_pid1,
    task_count,
    world_of,
)
from explorer.analysis.mounts import overmount_stack
from explorer.model import (
    FsStruct,
    PathRef,
    Snapshot,
    Task,
    comm_and_pid,
    display_width,
    escape_text,
    fields_of,
    is_isolating,
    known,
    mount_name,
)
from explorer.naming import kind_plural, moments, name_label, path_label, place_mount
from explorer.output import fit_middle

from .verdict import ShownVerdict, show_verdict

__all__ = ("OVERVIEW_COLUMNS", "Door", "Overview", "fit_header", "header_line", "make_overview")

#: What it asks of all tasks and fs_structs.
OVERVIEW_COLUMNS = {
    "tasks": ("owner", "real_fs", "fs", "borrowing", "kind"),
    "fs_structs": ("address", "root"),
}
_BAR_WIDTH = 16
#: Terminal columns of a release or a target in the header: an absurd one does not push the other away.
_MOST_OF_A_NAME = 60
#: Of a mount among those on ``/``, of which the last is the one that matters.
_MOST_OF_A_MOUNT = 24
_TITLES = {
    WorldKey.INIT_ROOT: ("own fs", "init's root, own fs_struct"),
    WorldKey.CHROOT: ("chroot", "chroot"),
    WorldKey.NS_ROOT: ("other ns", "other namespaces"),
    WorldKey.NULLFS_NS_ROOT: ("empty ns", "namespace's nullfs"),
    WorldKey.DETACHED: ("detached", "detached"),
    WorldKey.FAILFS: ("failfs", "failfs"),
    WorldKey.INTERNAL: ("internal", "internal mount"),
    WorldKey.EXITED: ("exited", "exited"),
    WorldKey.UNKNOWN: ("unknown", "not readable"),
}


@dataclass(frozen=True, slots=True)
class Door:
    """A box on the screen: a title, lines, and the query that shows who is inside. All text is escaped."""

    short: str
    title: str
    lines: tuple[str, ...]
    query: str
    count: int


@dataclass(frozen=True, slots=True)
class Overview:
    """All text of the first screen."""

    header: str
    verdict: ShownVerdict
    left: Door
    bridge: Door | None
    """Who borrows; ``None`` on kernels on which nobody can."""
    right: Door | None
    """``None`` where one world is all there is."""
    others: tuple[Door, ...]
    root: str


def make_overview(snapshot: Snapshot, worlds: Worlds) -> Overview:
    isolating = is_isolating(snapshot.kernel.generation)
    shown = (WorldKey.NULLFS, WorldKey.USERSPACE_INIT_FS) if isolating else (WorldKey.INIT_FS,)
    pid1 = find_pid1(snapshot)
    home = None if pid1 is None else world_of(pid1, snapshot)
    others = tuple(_other(world, home) for key, world in worlds.worlds.items() if key not in shown)
    return Overview(
        header=header_line(snapshot),
        verdict=show_verdict(snapshot),
        left=_nullfs(snapshot, worlds) if isolating else _shared(snapshot, worlds, pid1),
        bridge=_bridge(worlds.borrowers) if isolating else None,
        right=_init(snapshot, worlds, pid1) if isolating else None,
        others=others,
        root=_root_line(snapshot) + _stopped_line(snapshot),
    )


def header_line(snapshot: Snapshot, name: str | None = None) -> str:
    """Kernel, target, types, tasks: who is being looked at, on every screen."""
    capture = snapshot.capture
    parts = [
        f"Linux {fit_middle(escape_text(snapshot.kernel.release), _MOST_OF_A_NAME)}",
        fit_middle(
            name or escape_text(capture.source.target.rpartition("/")[2] or capture.source.target),
            _MOST_OF_A_NAME,
        ),
    ]
    # A narrow terminal cuts the end off: what is wrong comes before it.
    if snapshot.errors:
        count = len(snapshot.errors)
        parts.append(f"{count} value{'' if count == 1 else 's'} not readable")
    if not capture.consistent:
        parts.append("read while it ran")
    parts += [f"types: {capture.types.upper()}", f"{task_count(snapshot)} in {capture.duration_s:.2f} s"]
    return "   ".join(parts)


def fit_header(text: str, width: int) -> str:
    """A header line in ``width`` terminal columns: by leaving out what matters least, not by cutting a number off."""
    shorter = [text, text.replace("   types: ", "   ")]
    shorter.append(re.sub(r" in [0-9.]+ s$", "", shorter[-1]))
    parts = shorter[-1].split("   ")
    shorter += ["   ".join(parts[:number]) for number in range(len(parts) - 1, 1, -1)]
    return next((line for line in shorter if display_width(line) <= width), text)


def _bars(world: World, most: int) -> list[str]:
    """One line a kind: its name, how many, and a bar as long as its share."""
    counts = [(kind_plural(kind), count) for kind, count in world.kinds()]
    if len(counts) > most:
        counts[most - 1 :] = [("other", sum(count for _, count in counts[most - 1 :]))]
    names = max((len(name) for name, _ in counts), default=0)
    digits = len(str(len(world.tasks)))
    lines = []
    for name, count in counts:
        bar = "━" * max(1, round(count * _BAR_WIDTH / len(world.tasks)))
        lines.append(f"{name:<{names}} {count:>{digits}} {bar}")
    return lines


def _books_line(name: str, fs: FsStruct | None, snapshot: Snapshot) -> str:
    if fs is None:
        return f"{name}: not readable"
    books = books_of(fs, snapshot)
    if books.differ:
        return f"{name} MISMATCH {books.label}"
    return f"{name} users {books.label} {'ok' if books.balanced else 'unknown'}"


def _nullfs(snapshot: Snapshot, worlds: Worlds) -> Door:
    world = worlds.get(WorldKey.NULLFS)
    mount = snapshot.mount_by_address.get(snapshot.kernel.knullfs or 0)
    where = "" if mount is None else f" knullfs, mount {known(mount.id)}"
    init_fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    lines = (*_bars(world, 4), _books_line("init_fs", init_fs, snapshot))
    return Door("nullfs", f"nullfs{where}", lines, world.query, len(world.tasks))


def _shared(snapshot: Snapshot, worlds: Worlds, pid1: Task | None) -> Door:
    world = worlds.get(WorldKey.INIT_FS)
    init_fs = snapshot.fs_by_address.get(snapshot.kernel.init_fs or 0)
    where = "" if init_fs is None else f" {path_label(init_fs.root, snapshot)}"
    lines = (*_bars(world, 4), _books_line("init_fs", init_fs, snapshot))
    if pid1 is not None and world_of(pid1, snapshot) is world.key:
        lines = (f"PID 1  {name_label(pid1)} shares it", *lines)
    return Door("init_fs", f"init_fs{where}", lines, world.query, len(world.tasks))


def _init(snapshot: Snapshot, worlds: Worlds, pid1: Task | None) -> Door:
    world = worlds.get(WorldKey.USERSPACE_INIT_FS)
    fs = snapshot.fs_by_address.get(snapshot.kernel.userspace_init_fs or 0)
    # The path is said only where it says something.
    where = "" if fs is None or fs.root is None else f" {_short_place(fs.root, snapshot)}"
    abandoned = find_abandonment(snapshot) is not None
    is_home = pid1 is not None and world_of(pid1, snapshot) is world.key
    lines = [] if is_home else [_absent(pid1, snapshot)]
    for task in world.tasks[:3]:
        name = name_label(task)
        lines.append(f"PID 1   {name}" if task.pid == 1 else f"sharer  {comm_and_pid(name, task.pid)}")
    if len(world.tasks) > 3:
        lines[-1] = f"and {len(world.tasks) - 2} more share it"
    if not world.tasks:
        lines.append("nobody holds it")
    lines.append(_pointer_line(fs, snapshot, abandoned))
    return Door("init", f"userspace_init_fs{where}", tuple(lines), world.query, len(world.tasks))


def _short_place(root: PathRef, snapshot: Snapshot) -> str:
    is_top = root.path in ("/", f"{root.fstype}:/")
    return escape_text(place_mount(root, snapshot)) if is_top else path_label(root, snapshot)


def _absent(pid1: Task | None, snapshot: Snapshot) -> str:
    """Where PID 1 is, if not where the kernel looks paths up."""
    fs = None if pid1 is None else snapshot.fs_of(pid1)
    return (
        "PID 1 is not here"
        if fs is None or fs.root is None
        else f"PID 1 left: {_short_place(fs.root, snapshot)}"
    )


def _pointer_line(fs: FsStruct | None, snapshot: Snapshot, abandoned: bool) -> str:
    """``users 3 = 2 + pointer ok``: the holders found, and the global pointer itself; that an ``fs_struct`` balances
    which PID 1 has left is nothing to be glad of."""
    if fs is None or fs.users is None:
        return "users: not readable"
    expected = expected_users(fs, snapshot)
    pointer = " + pointer" if expected != fs.sharers else ""
    if fs.users != expected:
        return f"MISMATCH {fs.users} ≠ {fs.sharers}{pointer}"
    return f"users {fs.users} = {fs.sharers}{pointer}" + ("" if abandoned else " ok")


def _bridge(borrowers: list[Task]) -> Door:
    count = len(borrowers)
    verb = "borrows" if count == 1 else "borrow"
    lines = [f"{count} {verb}", "─" * 9 + "▶"] if count else ["nobody borrows"]
    lines += [name_label(task) for task in borrowers[:2]]
    if count == 1:
        lines += _since(borrowers[0])
    if count > 2:
        lines.append(f"and {count - 2} more")
    return Door("borrowing", "", tuple(lines), "borrowing", count)


def _since(task: Task) -> list[str]:
    """For how long it has been at it, as far as the kernel says."""
    running = None if task.kthread is None else task.kthread.running_s
    seconds = task.waiting_s if running is None else running
    return [] if seconds is None else [f"{seconds:.1f} s"]


def _other(world: World, home: WorldKey | None) -> Door:
    """:param home: of PID 1"""
    short, title = _TITLES.get(world.key, (world.key.value, world.key.value))
    count = len(world.tasks)
    line = f"{count} task{'' if count == 1 else 's'}"
    if world.key is WorldKey.NS_ROOT:
        namespaces: set[int | None] = set(*fields_of(world.tasks, "mnt_ns"))
        line = f"{count} in {len(namespaces)} ns"
    if world.key is home:
        line += ", PID 1 too"
    return Door(short, title, (line,), world.query, count)


def _root_line(snapshot: Snapshot) -> str:
    """``/ is nullfs#1 → rootfs#2 (visible)``: the overmounts on the root of init's namespace, bottom first."""
    stack = overmount_stack(snapshot)
    if not stack:
        return "what lies on / could not be read"
    names = [fit_middle(escape_text(mount_name(mount)), _MOST_OF_A_MOUNT) for mount in stack]
    return f"/ is  {' → '.join(names)} (visible)"


def _stopped_line(snapshot: Snapshot) -> str:
    """``stopped 2026-11-26 20:28:27 UTC``: of a dump, by its own clock, where that is known. Else when it was read is
    all that there is to know, and the header says how long that is ago."""
    *stopped, _ = moments(snapshot.capture)
    return "".join(f"     {what} {escape_text(when)}" for what, when in stopped)
