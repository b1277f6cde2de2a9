"""Names for cells of tables and lines of details: escaped, and as short as they can be told apart."""

from __future__ import annotations

from explorer.model import FsStruct, PathRef, Snapshot, Task, escape_text, global_fs, known

from .words import place, place_mount, seconds

__all__ = ("fs_label", "name_label", "path_label", "pwd_label", "runs_label", "short_address")


def name_label(task: Task) -> str:
    """The task's name; one that is empty is visible as ``""``."""
    return escape_text(task.name) or '""'


def path_label(path: PathRef | None, snapshot: Snapshot) -> str:
    """``rootfs#2:/jail``; see :func:`.words.place`."""
    return escape_text(place(path, snapshot))


def pwd_label(fs: FsStruct, snapshot: Snapshot) -> str:
    """``same`` where root and pwd are one place; the path alone where they are on one mount."""
    root, pwd = fs.root, fs.pwd
    if root is None or pwd is None or pwd.path is None:
        return path_label(pwd, snapshot)
    if (root.mount, root.dentry) == (pwd.mount, pwd.dentry):
        return "same"
    return escape_text(pwd.path) if root.mount == pwd.mount else path_label(pwd, snapshot)


def short_address(address: int | None) -> str:
    """``…8275ebc0``: the part of an address in which two of the same kernel differ; "" for ``None``."""
    return "" if address is None else f"…{address & 0xFFFFFFFF:08x}"


def fs_label(address: int | None, snapshot: Snapshot) -> str:
    """An ``fs_struct`` by its global name, else by its short address; ``-`` where there is none."""
    return "-" if address is None else global_fs(snapshot.kernel).get(address) or short_address(address)


def runs_label(task: Task, snapshot: Snapshot) -> str:
    """What a task is doing: whether it borrows, which path it looks up and where it has got to, for how long, and in
    which function; then what a kernel thread runs.

    ``walking /f/core (fuse#52), 12 s``; ``▶ borrowing userspace_init_fs, 0.3 s, in vfs_coredump; async_run on async``
    """
    runs = _thread_runs(task)
    doing = []
    if task.borrowing:
        doing.append("▶ borrowing" if task.walk else "▶ borrowing userspace_init_fs")
    if task.walk is not None:
        where = f" ({escape_text(place_mount(task.walk.start, snapshot))})" if task.walk.start else ""
        doing.append(f"walking {escape_text(known(task.walk.path))}{where}")
    if not doing:
        return runs
    # A walk that takes long has waited all that time; a function that borrows may have waited in between.
    times = [task.waiting_s, None if task.kthread is None else task.kthread.running_s]
    known_times = [each for each in (times if task.walk else reversed(times)) if each is not None]
    doing += map(seconds, known_times[:1])
    opener = next((frame.function for frame in task.stack or () if frame.opens_scope), None)
    if opener is not None:
        doing.append(f"in {escape_text(opener)}")
    return "; ".join([", ".join(doing), *([runs] if runs else [])])


def _thread_runs(task: Task) -> str:
    """What a kernel thread runs: work function and queue, thread function, or what it ran last."""
    kthread = task.kthread
    if kthread is None:
        return ""
    if kthread.current_func:
        queue = f" on {escape_text(kthread.workqueue)}" if kthread.workqueue else ""
        return f"{escape_text(kthread.current_func)}{queue}"
    if kthread.last_func:
        return f"idle, last {escape_text(kthread.last_func)}"
    if kthread.waiting_works is not None:
        waits = f", {kthread.waiting_works} waiting" if kthread.waiting_works else ""
        return f"idle{waits}, {escape_text(kthread.threadfn or '')}"
    return escape_text(kthread.threadfn or "")
