"""Small changes of real snapshots, and plugins, that the tests of the audit share."""

from __future__ import annotations

from explorer.analysis.audit import run_audit
from explorer.model import (
    Finding,
    FsStruct,
    Generation,
    Owner,
    PathRef,
    Placement,
    Snapshot,
    Task,
)
from explorer.plugin import Expectation, Facts, Plugin, Speaks

__all__ = (
    "DEVTMPFS",
    "abandon",
    "find",
    "fs_of",
    "give_fs",
    "init_fs_of",
    "named",
    "nullfs_of",
    "task_of",
)

#: A plugin that claims kdevtmpfs, and nothing more.
DEVTMPFS = Plugin(
    name="mine",
    title="claims kdevtmpfs",
    facts=Facts,
    collect=lambda kernel: Facts(),
    audit=lambda snapshot, facts: iter(()),
    speaks_for=(Speaks(comm="kdevtmpfs"),),
    expected={Generation.ISOLATED: Expectation((Owner.PRIVATE,))},
)


def find(snapshot: Snapshot, rule_id: str, *plugins: Plugin) -> list[Finding]:
    return run_audit(snapshot, plugins, [rule_id]).findings


def task_of(snapshot: Snapshot, comm: str) -> Task:
    return next(task for task in snapshot.tasks if task.comm == comm)


def named(snapshot: Snapshot, *comms: str) -> list[str]:
    """``comm (pid)``: fixtures are made anew now and then, and pids move."""
    return [f"{comm} ({task_of(snapshot, comm).pid})" for comm in comms]


def fs_of(snapshot: Snapshot, task: Task) -> FsStruct:
    return next(fs for fs in snapshot.fs_structs if fs.address == task.owned_fs)


def init_fs_of(snapshot: Snapshot) -> FsStruct:
    return next(fs for fs in snapshot.fs_structs if fs.address == snapshot.kernel.init_fs)


def give_fs(task: Task, address: int | None, owner: Owner) -> None:
    task.owner, task.fs = owner, address
    if task.real_fs is not None:
        task.real_fs = address


def nullfs_of(snapshot: Snapshot) -> PathRef:
    root = init_fs_of(snapshot).root
    assert root is not None
    assert root.placement is Placement.NULLFS
    return root


def abandon(snapshot: Snapshot) -> None:
    """What fs/fs_struct.c does when PID 1 unshares: it gets a copy, and what it leaves goes to nullfs."""
    pid1 = next(task for task in snapshot.tasks if task.pid == 1)
    left = fs_of(snapshot, pid1)
    own = left.model_copy(update={"address": 0xFFFF888000000000, "users": 1, "sharers": 1})
    snapshot.fs_structs.append(own)
    left.root = left.pwd = nullfs_of(snapshot)
    left.sharers -= 1
    left.users = (left.users or 0) - 1
    give_fs(pid1, own.address, Owner.PRIVATE)
