"""What changed from one snapshot to another: tasks, who shares what, mounts, namespaces, the kernel. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from explorer.model import (
    Change,
    DiffSide,
    Fact,
    Regrouping,
    Snapshot,
    SnapshotDiff,
    Task,
    TaskChange,
    TaskFlag,
    TaskKind,
    TaskLabel,
    WorkerGroup,
    hex_address,
    lasting_cgroup,
    task_name,
)
from explorer.naming import container_words, moment_words

from .matching import are_of_one_boot, worker_group
from .mounts import diff_mounts, diff_namespaces
from .side_by_side import SideBySide, changed_values

__all__ = ("diff_snapshots",)


def diff_snapshots(a: Snapshot, b: Snapshot) -> SnapshotDiff:
    """Everything that differs in ``b``, seen from ``a``."""
    pair = SideBySide(a, b, are_of_one_boot(a, b))
    found = SnapshotDiff(
        a=_side(a),
        b=_side(b),
        same_boot=pair.same_boot,
        matched_by="pid and start time" if pair.same_boot else "name and kind",
        differs=False,
        kernel=list(_kernel(pair)),
        came=[_label(pair, task, b) for task in pair.tasks.added],
        went=[_label(pair, task, a) for task in pair.tasks.gone],
        changed=list(_changed(pair)),
        workers=[] if pair.same_boot else _workers(pair),
        regrouped=_regrouped(pair),
        mounts=diff_mounts(pair),
        mount_namespaces=diff_namespaces(pair),
    )
    lists = (found.kernel, found.came, found.went, found.changed, found.regrouped, found.mounts)
    found.differs = (
        any(lists) or bool(found.mount_namespaces) or any(group.differs for group in found.workers)
    )
    return found


def _side(snapshot: Snapshot) -> DiffSide:
    capture, kernel = snapshot.capture, snapshot.kernel
    return DiffSide(
        target=capture.source.target,
        taken_at=capture.taken_at,
        kernel_time=capture.kernel_time,
        moment=moment_words(capture),
        release=kernel.release,
        generation=kernel.generation.value,
        boot_time=kernel.boot_time,
        tasks=len(snapshot.tasks),
        errors=len(snapshot.errors),
    )


# Tasks


def _label(pair: SideBySide, task: Task, snapshot: Snapshot) -> TaskLabel:
    fs = snapshot.fs_of(task)
    return TaskLabel(
        address=task.address,
        pid=task.pid,
        comm=task.comm_word,
        kind=task.kind,
        owner=task.owner,
        root=None if fs is None else pair.place(fs.root, snapshot),
        borrowing=task.borrowing,
    )


def _changed(pair: SideBySide) -> Iterator[TaskChange]:
    for old, new in pair.tasks_to_compare():
        changes = list(_task_changes(pair, old, new))
        if changes:
            yield TaskChange(
                before=_label(pair, old, pair.a), after=_label(pair, new, pair.b), changes=changes
            )


def _task_changes(pair: SideBySide, old: Task, new: Task) -> Iterator[Change]:
    if pair.same_boot:  # across boots tasks are matched by name, but for numbers in it
        yield from changed_values(
            *([(Fact.COMM, old.comm, new.comm)] if None not in (old.comm, new.comm) else [])
        )
    facts = (
        (Fact.KIND, old.kind and old.kind.value, new.kind and new.kind.value),
        (Fact.OWNER, old.owner and old.owner.value, new.owner and new.owner.value),
        (Fact.BORROWING, _yes(old.borrowing), _yes(new.borrowing)),
    )
    # What could not be read has not changed, for all that is known.
    yield from changed_values(*(fact for fact in facts if None not in fact))
    old_fs, new_fs = pair.a.fs_of(old), pair.b.fs_of(new)
    if old_fs is not None and new_fs is not None:
        yield from pair.path_change(Fact.ROOT, old_fs.root, new_fs.root)
        yield from pair.path_change(Fact.PWD, old_fs.pwd, new_fs.pwd, is_root=False)
        yield from pair.changed((Fact.UMASK, old_fs.umask, new_fs.umask))
        if pair.same_boot and not pair.knows_less:
            yield from changed_values(
                (Fact.FS_STRUCT, pair.fs_name(old_fs.address, pair.a), pair.fs_name(new_fs.address, pair.b))
            )
    yield from pair.reference_change(Fact.MNT_NS, old.mnt_ns, new.mnt_ns)
    yield from _group_changes(pair, old, new)


def _group_changes(pair: SideBySide, old: Task, new: Task) -> Iterator[Change]:
    """The control group, and the container that it is of; across boots without what each makes anew."""
    if old.cgroup is None or new.cgroup is None:
        return
    if pair.same_boot or lasting_cgroup(old.cgroup) != lasting_cgroup(new.cgroup):
        yield from changed_values(
            (Fact.CGROUP, old.cgroup, new.cgroup),
            (Fact.CONTAINER, container_words(old.container), container_words(new.container)),
        )


def _workers(pair: SideBySide) -> list[WorkerGroup]:
    """kworkers of two boots, by sort of pool and where they live."""
    homes: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for side, snapshot in enumerate((pair.a, pair.b)):
        for task in snapshot.tasks:
            if task.kind is TaskKind.KWORKER:
                groups = homes.setdefault(worker_group(task), (Counter(), Counter()))
                groups[side][_home(pair, task, snapshot)] += 1
    return [
        # A pool may have no worker at the moment: only workers that live elsewhere are a difference.
        WorkerGroup(
            name=name,
            before=dict(sorted(before.items())),
            after=dict(sorted(after.items())),
            differs=bool(before and after and set(before) != set(after)),
        )
        for name, (before, after) in sorted(homes.items())
    ]


def _home(pair: SideBySide, task: Task, snapshot: Snapshot) -> str:
    fs = snapshot.fs_of(task)
    if fs is None:
        return task.owner_word
    root, same = pair.place(fs.root, snapshot), pair.place(fs.pwd, snapshot)
    pwd = "same" if root == same else pair.place(fs.pwd, snapshot, is_root=False)
    return f"{task.owner_word}, root {root}, pwd {pwd}"


# Who shares with whom


def _regrouped(pair: SideBySide) -> list[Regrouping]:
    """Compare who shares with whom, among the tasks that hold an ``fs_struct`` in both snapshots."""
    if all(old is new or old.owned_fs == new.owned_fs for old, new in pair.tasks.both):
        return []  # who came or went is another matter
    old_groups: dict[int, list[int]] = {}
    new_groups: dict[int, list[int]] = {}
    held: list[tuple[int, Task]] = []
    for old, new in pair.tasks.both:
        if old.owned_fs is not None and new.owned_fs is not None:
            old_groups.setdefault(old.owned_fs, []).append(len(held))
            new_groups.setdefault(new.owned_fs, []).append(len(held))
            held.append((old.owned_fs, new))
    found = []
    for address, members in new_groups.items():
        sources = Counter(held[index][0] for index in members).most_common()
        main = sources[0][0]
        if len(sources) == 1 and len(old_groups[main]) == len(members):
            continue
        stayed = set(members)
        found.append(
            Regrouping(
                address=address,
                fs=pair.fs_name(address, pair.b),
                came_from=[pair.fs_name(source, pair.a) for source, _ in sources],
                sharers=[task_name(held[index][1]) for index in members],
                joined=[task_name(held[index][1]) for index in members if held[index][0] != main],
                left=[task_name(held[index][1]) for index in old_groups[main] if index not in stayed],
            )
        )
    return found


# The kernel


def _kernel(pair: SideBySide) -> Iterator[Change]:
    a, b = pair.a.kernel, pair.b.kernel
    yield from pair.changed(
        (Fact.RELEASE, a.release, b.release),
        (Fact.BUILD_ID, a.build_id, b.build_id),
        (Fact.GENERATION, a.generation.value, b.generation.value),
        (Fact.CMDLINE, a.cmdline, b.cmdline),
    )
    owners = _owner_of_init(pair.a), _owner_of_init(pair.b)
    if not pair.knows_less or "?" not in owners:
        yield from changed_values((Fact.PID1_OWNS, *owners))
    yield from _kernel_fs(pair, _INIT_FS, a.init_fs, b.init_fs)
    yield from _kernel_fs(pair, _USERSPACE_INIT_FS, a.userspace_init_fs, b.userspace_init_fs)


class _FsFacts(NamedTuple):
    """The facts of an ``fs_struct`` that the kernel has a name for."""

    itself: Fact
    root: Fact
    pwd: Fact
    umask: Fact
    users: Fact


_INIT_FS = _FsFacts(Fact.INIT_FS, Fact.INIT_FS_ROOT, Fact.INIT_FS_PWD, Fact.INIT_FS_UMASK, Fact.INIT_FS_USERS)
_USERSPACE_INIT_FS = _FsFacts(
    Fact.USERSPACE_INIT_FS,
    Fact.USERSPACE_INIT_FS_ROOT,
    Fact.USERSPACE_INIT_FS_PWD,
    Fact.USERSPACE_INIT_FS_UMASK,
    Fact.USERSPACE_INIT_FS_USERS,
)


def _kernel_fs(pair: SideBySide, facts: _FsFacts, old: int | None, new: int | None) -> Iterator[Change]:
    """A well-known ``fs_struct``: where it points, its root, and whether others than kthreads hold it."""
    if (pair.same_boot or old is None or new is None) and not pair.knows_less:
        yield from changed_values((facts.itself, _hex(old), _hex(new)))
    if old is None or new is None:
        return
    before, after = pair.a.fs_by_address.get(old), pair.b.fs_by_address.get(new)
    if before is not None and after is not None:
        yield from pair.path_change(facts.root, before.root, after.root)
        yield from pair.path_change(facts.pwd, before.pwd, after.pwd, is_root=False)
        yield from pair.changed((facts.umask, before.umask, after.umask))
    if not pair.knows_less:
        yield from changed_values((facts.users, _holders(old, pair.a), _holders(new, pair.b)))


def _yes(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _hex(address: int | None) -> str | None:
    return None if address is None else hex_address(address)


def _owner_of_init(snapshot: Snapshot) -> str | None:
    return next((task.owner_word for task in snapshot.tasks if task.pid == 1), None)


def _holders(address: int, snapshot: Snapshot) -> str:
    """How many tasks of userspace hold an ``fs_struct``."""
    return str(sum(not task.has_flag(TaskFlag.KTHREAD) for task in snapshot.sharers_by_fs.get(address, [])))
