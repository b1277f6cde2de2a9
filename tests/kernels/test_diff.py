"""The diff of captures of real kernels, against the difference between the guests' own accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.analysis.diff.snapshots import diff_snapshots
from explorer.model import Snapshot, TaskKind, kernel_bytes
from explorer.model.diff import SnapshotDiff
from tests.kernels.lab import Guest, Oracle, OracleTask
from tests.kernels.lab.errors import LabError
from tests.kernels.test_capture import capture

pytestmark = pytest.mark.kernel

_WORKERS = (TaskKind.KWORKER, TaskKind.IDLE)
#: Each waits in the background for a word through a FIFO, then changes one thing and stays.
_BACKGROUND = {
    "mover": "read x < /go-mover; cd /kept; read x < /never",
    "masker": "read x < /go-masker; umask 077; read x < /never",
    "jailed": "read x < /go-jailed; exec chroot /jail /bin/busybox sleep 100000",
    "leaver": "read x < /go-leaver; exec unshare -m sleep 100000",
    "mortal": "read x < /go-mortal",
    "steady": "read x < /never",
}
_PREPARE = (
    "mkdir -p /kept /gone /jail/bin && cp /bin/busybox /jail/bin/ && mkfifo /never",
    "mount -t tmpfs kept /kept && mount -t tmpfs gone /gone",
    *(
        f"mkfifo /go-{name}; ( {does} ) > /dev/null 2>&1 & echo $! > /{name}.pid"
        for name, does in _BACKGROUND.items()
    ),
)
_CHANGE = (
    *(f"echo go > /go-{name}" for name in _BACKGROUND if name != "steady"),
    "umount /gone && mkdir /new && mount -t tmpfs new /new && mount -o remount,ro /new /new",
    "( read x < /never ) > /dev/null 2>&1 & echo $! > /newborn.pid",
    # what was asked for above has happened
    'until [ "$(readlink /proc/$(cat /mover.pid)/cwd)" = /kept ]; do sleep 0.1; done',
    "until grep -q 'Umask:.*0077' /proc/$(cat /masker.pid)/status; do sleep 0.1; done",
    'until [ "$(readlink /proc/$(cat /jailed.pid)/root)" = /jail ]; do sleep 0.1; done',
    'until [ "$(readlink /proc/$(cat /leaver.pid)/ns/mnt)" != "$(readlink /proc/1/ns/mnt)" ]; do sleep 0.1; done',
    "while [ -e /proc/$(cat /mortal.pid)/root ]; do sleep 0.1; done",
)


def run(guest: Guest, line: str) -> str:
    code, text = guest.sh(line)
    if code:
        raise LabError(f"in the guest: {line!r} ends with {code}: {text[-300:]}")
    return text


def look(guest: Guest) -> tuple[Snapshot, Oracle]:
    """What the guest says, and what is read of it."""
    said = guest.oracle()
    guest.stop()
    try:
        return capture(f"qemu:{guest.qmp_socket}"), said
    finally:
        guest.cont()


@dataclass(frozen=True)
class Changed:
    """One guest before and after the changes."""

    before: Oracle
    after: Oracle
    snapshots: tuple[Snapshot, Snapshot]
    diff: SnapshotDiff
    pids: dict[str, int]


@pytest.fixture(scope="module")
def changed() -> Iterator[Changed]:
    with Guest.boot("7.3", "shell") as guest:
        for line in _PREPARE:
            run(guest, line)
        first, before = look(guest)
        for line in _CHANGE:
            run(guest, line)
        second, after = look(guest)
        pids = {name: int(run(guest, f"cat /{name}.pid")) for name in (*_BACKGROUND, "newborn")}
        yield Changed(before, after, (first, second), diff_snapshots(first, second), pids)


def test_one_boot_is_recognised_though_the_kernel_ran_on(changed: Changed) -> None:
    assert changed.diff.same_boot
    assert not diff_snapshots(changed.snapshots[1], changed.snapshots[1]).differs


def test_the_tasks_that_came_and_went_are_those_of_the_guests_account(changed: Changed) -> None:
    old = {task.key: task for task in changed.before.tasks if not is_worker(task)}
    new = {task.key: task for task in changed.after.tasks if not is_worker(task)}
    came = {label.pid for label in changed.diff.came if label.kind not in _WORKERS}
    went = {label.pid for label in changed.diff.went if label.kind not in _WORKERS}
    assert came == {pid for pid, _ in new.keys() - old.keys()}
    assert went == {pid for pid, _ in old.keys() - new.keys()}
    assert changed.pids["newborn"] in came
    assert changed.pids["mortal"] in went


def is_worker(task: OracleTask) -> bool:
    return task.is_kthread and task.comm.startswith(b"kworker/")


def facts(task: OracleTask) -> dict[str, object]:
    """What the guest says of a task, under the names of the diff."""
    return {
        "comm": task.comm,
        "root": (task.root, task.root_id),
        "pwd": (task.cwd, task.cwd_id),
        "umask": task.umask,
        "mnt_ns": task.mnt_ns,
    }


def test_each_task_changed_in_just_what_the_guest_says(changed: Changed) -> None:
    later = {task.key: task for task in changed.after.tasks}
    said = {
        task.pid: {what for what, fact in facts(task).items() if facts(later[task.key])[what] != fact}
        for task in changed.before.tasks
        if task.key in later and not is_worker(task)
    }
    found = {
        task.after.pid: {
            change.what for change in task.changes if change.what in facts(changed.before.tasks[0])
        }
        for task in changed.diff.changed
        if task.after.kind not in _WORKERS
    }
    assert found == {pid: whats for pid, whats in said.items() if whats}
    assert "pwd" in found[changed.pids["mover"]]
    assert found[changed.pids["masker"]] == {"umask"}
    assert "root" in found[changed.pids["jailed"]]
    assert "mnt_ns" in found[changed.pids["leaver"]]
    assert changed.pids["steady"] not in found


def test_the_mounts_added_and_gone_are_those_of_mountinfo(changed: Changed) -> None:
    # A mount id is used again at once: /new gets that of /gone.
    def listed(oracle: Oracle) -> set[tuple[int, int, bytes]]:
        return {
            (inum, line.mnt_id, line.mountpoint) for inum, lines in oracle.mounts.items() for line in lines
        }

    def found(state: str, snapshot: Snapshot) -> set[tuple[int | None, int | None, bytes]]:
        addresses = {
            c.after if state == "added" else c.before for c in changed.diff.mounts if c.state == state
        }
        return {
            (
                snapshot.namespace_by_address[mount.mnt_ns or 0].inum,
                mount.id,
                kernel_bytes(mount.mountpoint or ""),
            )
            for mount in snapshot.mounts
            if mount.address in addresses
        }

    before, after = listed(changed.before), listed(changed.after)
    # mountinfo shows nothing of what lies under the visible root of the new namespace.
    assert found("added", changed.snapshots[1]) & after == after - before != set()
    assert found("gone", changed.snapshots[0]) == before - after != set()


def test_a_mount_namespace_that_was_made_is_told(changed: Changed) -> None:
    made = set(changed.after.mounts) - set(changed.before.mounts)
    added = {space.after for space in changed.diff.mount_namespaces if space.state == "added"}
    found = {space.inum for space in changed.snapshots[1].mount_namespaces if space.address in added}
    assert found == made != set()


def test_pid_1_leaving_userspace_init_fs_is_told_across_boots_with_who_stayed(changed: Changed) -> None:
    with Guest.boot("7.3", "shared-init") as guest:
        shared, said_shared = look(guest)
    with Guest.boot("7.3", "abandoned") as guest:
        abandoned, said_abandoned = look(guest)
    diff = diff_snapshots(shared, abandoned)
    assert not diff.same_boot
    facts = {change.what.value: (change.before, change.after) for change in diff.kernel}
    assert facts["PID 1 owns"] == ("userspace_init_fs", "private")
    (sharer,) = said_shared.by_comm("init-share")
    (stayed,) = said_abandoned.by_comm("init-share")
    assert sharer.fs_class == said_shared.task(1).fs_class
    assert stayed.fs_class != said_abandoned.task(1).fs_class
    groups = {tuple(group.sharers): group for group in diff.regrouped}
    assert groups[f"init-share ({stayed.pid})",].left == ["nx-init (1)"]
    assert groups["nx-init (1)",].left == [f"init-share ({stayed.pid})"]
    names_before = {task.comm for task in said_shared.tasks}
    came = {kernel_bytes(label.comm) for label in diff.came if label.kind is TaskKind.USER}
    assert came == {task.comm for task in said_abandoned.tasks if not task.is_kthread} - names_before
    assert not [group for group in diff.workers if group.differs]
    assert not [label for label in (*diff.came, *diff.went) if label.kind is TaskKind.KTHREAD]
