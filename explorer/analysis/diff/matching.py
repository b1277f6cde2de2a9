"""Which task, mount and namespace of one snapshot is which of another. Pure functions.

On one boot, identity is the kernel's: a pid with its start time, a mount's id that is never used again, a namespace's
number. Across boots there is none, and names stand in for it, numbered where they repeat.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from operator import is_not
from typing import Generic, TypeVar

from explorer.model import Attachment, Kernel, Mount, MountNamespace, Snapshot, Task, TaskKind, other_places

__all__ = (
    "Pairs",
    "are_of_one_boot",
    "is_same_boot",
    "knows_less",
    "match_mounts",
    "match_namespaces",
    "match_tasks",
    "perhaps_moved",
    "same_records",
    "worker_group",
)

#: The wall clock at boot is what now and uptime give; NTP moves the one against the other.
_BOOT_TIME_TOLERANCE_S = 2.0
#: Of /proc/PID/stat: ``USER_HZ`` is 100 on x86_64.
_TICK_NS = 10_000_000

#: Where fewer than one in so many differ, they are few.
_FEW = 8

_T = TypeVar("_T")


class Pairs(Generic[_T]):
    """Objects of two snapshots, matched; each list in its snapshot's order."""

    def __init__(
        self,
        both: Iterable[tuple[_T, _T]],
        gone: list[_T],
        added: list[_T],
        changed: list[tuple[_T, _T]] | None = None,
    ) -> None:
        self._both, self._changed = both, changed
        self.gone = gone
        """Only in the first."""
        self.added = added
        """Only in the second."""

    @property
    def both(self) -> list[tuple[_T, _T]]:
        """In both."""
        if not isinstance(self._both, list):
            self._both = list(self._both)
        return self._both

    @property
    def changed(self) -> list[tuple[_T, _T]]:
        """Those of both that are not the same object: frames of a recording share what did not change."""
        if self._changed is None:
            self._changed = [pair for pair in self.both if pair[0] is not pair[1]]
        return self._changed


def same_records(a: Sequence[object], b: Sequence[object]) -> bool:
    """Whether two lists have the same objects, in the same order."""
    return len(a) == len(b) and not any(map(is_not, a, b))


def perhaps_moved(tasks: Pairs[Task], a: Snapshot, b: Snapshot) -> list[tuple[Task, Task]]:
    """Of the tasks of both, those that are not the same object, or whose ``fs_struct`` is not."""
    if same_records(a.fs_structs, b.fs_structs):
        return tasks.changed
    old, new = a.fs_by_address, b.fs_by_address
    others = {address for address in old.keys() | new.keys() if old.get(address) is not new.get(address)}
    return [pair for pair in tasks.both if pair[0] is not pair[1] or pair[1].owned_fs in others]


def is_same_boot(a: Kernel, b: Kernel) -> bool:
    """Whether both snapshots are of one boot of one kernel. If that cannot be told, they are not."""
    if (a.build_id, a.release, a.init_fs) != (b.build_id, b.release, b.init_fs):
        return False
    return _booted_together(a, b)


def _booted_together(a: Kernel, b: Kernel) -> bool:
    if a.boot_time is None or b.boot_time is None:
        return False
    try:
        apart = datetime.fromisoformat(a.boot_time) - datetime.fromisoformat(b.boot_time)
        return abs(apart.total_seconds()) <= _BOOT_TIME_TOLERANCE_S
    except (ValueError, TypeError):  # an edited snapshot: its boot time is no time, or has no time zone
        return False


def knows_less(a: Snapshot, b: Snapshot) -> bool:
    """Whether one of two is of /proc: its objects have numbers in place of addresses, and it is silent about much."""
    return "proc" in (a.capture.source.kind, b.capture.source.kind)


def are_of_one_boot(a: Snapshot, b: Snapshot) -> bool:
    """Whether both snapshots are of one boot: by its time, or by kthreadd, which lasts from beginning to end.

    The time of the boot is what the wall clock says it was: it moves when the clock is set, as every boot does from the
    hardware's, and in a guest that stood still meanwhile.
    """
    if knows_less(a, b):  # has no address, and no BUILD-ID
        return a.kernel.release == b.kernel.release and _booted_together(a.kernel, b.kernel)
    if is_same_boot(a.kernel, b.kernel):
        return True
    if (a.kernel.build_id, a.kernel.release, a.kernel.init_fs) != (
        b.kernel.build_id,
        b.kernel.release,
        b.kernel.init_fs,
    ):
        return False
    kthreadd = [_kthreadd(snapshot) for snapshot in (a, b)]
    return kthreadd[0] is not None and kthreadd[0] == kthreadd[1]


def _kthreadd(snapshot: Snapshot) -> tuple[int, int] | None:
    """Address and start time (ns) of pid 2; ``None`` if it is not there, or has no start time of its own."""
    for task in snapshot.tasks:
        if task.pid == 2 and task.start_time:
            return task.address, task.start_time
    return None


def _numbered(items: Iterable[_T], keys: Iterable[Hashable]) -> dict[tuple[Hashable, int], _T]:
    """Items by key and how many had the same key before."""
    seen: Counter[Hashable] = Counter()
    found = {}
    for item, key in zip(items, keys, strict=True):
        found[key, seen[key]] = item
        seen[key] += 1
    return found


def _match(
    before: Iterable[_T], after: Iterable[_T], keys: tuple[Callable[[_T], Hashable], Callable[[_T], Hashable]]
) -> Pairs[_T]:
    before, after = list(before), list(after)
    found = _match_shared(before, after, keys[0]) if keys[0] is keys[1] else None
    return _match_by_keys(before, after, keys) if found is None else found


def _match_by_keys(
    before: list[_T], after: list[_T], keys: tuple[Callable[[_T], Hashable], Callable[[_T], Hashable]]
) -> Pairs[_T]:
    of_old, of_new = list(map(keys[0], before)), list(map(keys[1], after))
    if of_old == of_new:
        return Pairs(
            list(zip(before, after, strict=True)), [], []
        )  # from frame to frame mostly nobody comes or goes
    old, new = _numbered(before, of_old), _numbered(after, of_new)
    return Pairs(
        both=[(item, new[key]) for key, item in old.items() if key in new],
        gone=[item for key, item in old.items() if key not in new],
        added=[item for key, item in new.items() if key not in old],
    )


def _match_shared(before: list[_T], after: list[_T], key: Callable[[_T], Hashable]) -> Pairs[_T] | None:
    """The same of lists that share objects, of which few are asked for a key; ``None`` where that does not tell."""
    if len(before) == len(after):
        changed = [(before[at], after[at]) for at in other_places(before, after)]
        if all(key(old) == key(new) for old, new in changed):
            return Pairs(zip(before, after, strict=True), [], [], changed)
    return _match_others(before, after, key)


def _match_others(before: list[_T], after: list[_T], key: Callable[[_T], Hashable]) -> Pairs[_T] | None:
    """The same where most are the same objects, in the same order: these need no key, and the few others are matched.

    ``None`` where that is not so, or where one that is shared has a key of those others.
    """
    there, still = set(map(id, before)), set(map(id, after))
    old, new = [one for one in before if id(one) not in still], [one for one in after if id(one) not in there]
    if len(old) + len(new) > len(before) // _FEW:
        return None
    shared = [one for one in before if id(one) in still]
    if not same_records(shared, [one for one in after if id(one) in there]):
        return None
    taken = set(map(key, (*old, *new)))
    if not taken.isdisjoint(map(key, shared)):
        return None
    others = _match_by_keys(old, new, (key, key))
    partners = {id(one): other for one, other in others.both}
    both = ((one, partners.get(id(one), one)) for one in before if id(one) in still or id(one) in partners)
    return Pairs(both, others.gone, others.added, others.both)


def match_tasks(a: Snapshot, b: Snapshot, same_boot: bool) -> Pairs[Task]:
    """Match tasks; across boots, without kworkers (see :func:`worker_group`), and duplicates by pid order."""
    if same_boot:
        less = knows_less(a, b)
        tick = _TICK_NS if less else 1

        def identity(task: Task) -> Hashable:
            # All idle tasks have pid 0 and no start time of their own. /proc has start times in hundredths.
            started = None if task.start_time is None else task.start_time // tick
            return task.pid, started, task.comm if task.kind is TaskKind.IDLE else ""

        if less:  # which has no idle tasks
            return _match(filter(_is_no_idle, a.tasks), filter(_is_no_idle, b.tasks), (identity, identity))
        return _match(a.tasks, b.tasks, (identity, identity))

    def name(task: Task) -> Hashable:
        full = None if task.kthread is None else task.kthread.full_name
        # io_uring's and vhost's threads carry the pid of their process in their names.
        comm = re.sub(r"[0-9]+", "N", task.comm_word) if task.kind is TaskKind.IO_WORKER else task.comm_word
        return full or comm, task.kind

    def lasting(snapshot: Snapshot) -> list[Task]:
        return [task for task in snapshot.tasks if task.kind is not TaskKind.KWORKER]

    return _match(lasting(a), lasting(b), (name, name))


def _is_no_idle(task: Task) -> bool:
    return task.kind is not TaskKind.IDLE


def worker_group(task: Task) -> str:
    """The sort of a kworker: ``kworker/N``, ``kworker/uN``, ``kworker/NH``: its name without its numbers."""
    name = re.match(r"kworker/(u?)[0-9]+:[0-9]+(H?)", task.comm_word)
    return f"kworker/{name[1]}N{name[2]}" if name else re.sub(r"[0-9]+", "N", task.comm_word)


def _number(namespace: MountNamespace) -> Hashable:
    """Of a namespace in one boot."""
    return namespace.address if namespace.inum is None else (namespace.inum,)


def _namespace_key(snapshot: Snapshot, same_boot: bool) -> Callable[[MountNamespace], Hashable]:
    if same_boot:
        return _number
    dweller: dict[int, str] = {}
    for task in snapshot.tasks:
        if task.mnt_ns is not None and task.kind is not TaskKind.IDLE:
            dweller.setdefault(task.mnt_ns, task.comm_word)
    initial = snapshot.kernel.init_mnt_ns
    return lambda namespace: (
        "initial" if namespace.address == initial else ("of", dweller.get(namespace.address, ""))
    )


def match_namespaces(a: Snapshot, b: Snapshot, same_boot: bool) -> Pairs[MountNamespace]:
    """Match mount namespaces: by number, or by the first task that lives in each."""
    return _match(
        a.mount_namespaces, b.mount_namespaces, (_namespace_key(a, same_boot), _namespace_key(b, same_boot))
    )


def _identity(mount: Mount) -> Hashable:
    """Of a mount in one boot: what is never reused, as far as it is there."""
    if mount.unique_id is not None:
        return mount.unique_id
    return mount.address if mount.id is None else (mount.id, mount.superblock)


def _mount_key(snapshot: Snapshot, same_boot: bool) -> Callable[[Mount], Hashable]:
    if same_boot:
        return _identity
    of_namespace = _namespace_key(snapshot, same_boot)
    keys = {namespace.address: of_namespace(namespace) for namespace in snapshot.mount_namespaces}

    def key(mount: Mount) -> Hashable:
        where = keys.get(mount.mnt_ns or 0) if mount.attachment is Attachment.NAMESPACE else mount.attachment
        return where, mount.mountpoint, mount.fstype, mount.source

    return key


def match_mounts(a: Snapshot, b: Snapshot, same_boot: bool) -> Pairs[Mount]:
    """Match mounts: by their id, or by namespace, place, type and source; stacked ones from the bottom."""

    def in_order(snapshot: Snapshot) -> list[Mount]:
        # Ids grow; addresses, by which the snapshot is sorted, mean nothing across boots.
        return sorted(snapshot.mounts, key=lambda mount: (mount.unique_id or 0, mount.id or 0))

    if same_boot and knows_less(a, b):
        return _match(in_order(a), in_order(b), (_mount_id, _mount_id))
    return _match(in_order(a), in_order(b), (_mount_key(a, same_boot), _mount_key(b, same_boot)))


def _mount_id(mount: Mount) -> Hashable:
    return mount.id
