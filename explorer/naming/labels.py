"""Names for cells of tables and lines of details: escaped, and as short as they can be told apart."""

from __future__ import annotations

from explorer.model import FsStruct, PathRef, Snapshot, Task, escape_text, global_fs

from .words import place

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


def runs_label(task: Task) -> str:
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
