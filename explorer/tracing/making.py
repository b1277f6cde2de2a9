"""Lookups of what was joined: who asked, where it began, in the words of the vocabulary.

What events say of a task and its stack counts; what the snapshot of the beginning says stands in for what they lack.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from explorer.analysis import find_pid1, is_kernel_thread
from explorer.model import (
    FsStruct,
    KernelText,
    Lookup,
    LookupPlace,
    LookupSource,
    Snapshot,
    Task,
    TraceFrame,
    TraceHeader,
    kernel_text,
)
from explorer.targets import TargetError
from explorer.version import __version__

from .joining import JoinedLookup
from .kallsyms import Kallsyms
from .places import MountPlaces, StackNames, kernel_kind
from .workqueues import Workqueues

__all__ = ("LookupMaker", "chosen_tasks", "make_header", "utc_text")

_NS = 1_000_000_000
_KTHREADD = 2


class LookupMaker:
    """For one trace.

    :param users: pids of user tasks whose lookups are wanted, too
    """

    def __init__(
        self,
        snapshot: Snapshot,
        mounts: MountPlaces,
        symbols: Kallsyms,
        workqueues: Workqueues,
        users: frozenset[int],
    ) -> None:
        self._snapshot = snapshot
        self._users = users
        self._tasks = {task.pid: task for task in snapshot.tasks}
        self._mounts = mounts
        self._workqueues = workqueues
        self._stacks = StackNames(symbols)
        self.kernel_pids = frozenset(
            task.pid for task in snapshot.tasks if is_kernel_thread(task) and task.pid
        )
        """Of the kernel's threads."""

    def make_all(self, joined: Sequence[JoinedLookup]) -> Iterator[Lookup]:
        """Of those that have just ended, but for users' that are not asked for."""
        if joined:
            self._stacks.look()
            self._workqueues.look()
        self._mounts.look(mount for each in joined for mount in (each.walk.start, each.walk.root))
        for each in joined:
            lookup = self.make(each)
            if lookup is not None:
                yield lookup

    def make(self, joined: JoinedLookup) -> Lookup | None:
        """``None``: it was a user's, and is not asked for."""
        walk = joined.walk
        stack = None if walk.stack is None else self._stacks.frames(walk.stack)
        task = self._tasks.get(walk.pid)
        kind = None if task is None else task.kind
        of_kernel = None if stack is None else kernel_kind(stack)
        in_kernel = walk.pid in self.kernel_pids if stack is None else of_kernel is not None
        if not in_kernel and walk.pid not in self._users:
            return None
        root, start = (self._mounts.find(vfsmount) for vfsmount in (walk.root, walk.start))
        if walk.start is None:
            start = self._guess_start(task, walk.path, root)
        return Lookup(
            time_s=walk.time / _NS,
            cpu=walk.cpu,
            pid=walk.pid,
            comm=kernel_text(walk.comm),
            kind=of_kernel or kind,
            in_kernel=in_kernel,
            path=None if walk.path is None else kernel_text(walk.path),
            path_cut=walk.path_cut,
            flags=walk.flags,
            start=start,
            root=root,
            result=joined.result,
            tries=joined.tries,
            stack=stack,
            workqueue=self._workqueue(walk.pid, stack) if in_kernel else None,
        )

    def _workqueue(self, pid: int, stack: list[TraceFrame] | None) -> KernelText | None:
        function = None if stack is None else self._stacks.work_function(stack)
        return None if function is None else self._workqueues.of(pid, function)

    def _guess_start(
        self, task: Task | None, path: bytes | None, root: LookupPlace | None
    ) -> LookupPlace | None:
        """Where a lookup began of which only the end was seen (:mod:`.events`): at its root, or as its task stood when
        the trace began. A kernel thread of those kernels stands where init stands."""
        if path is None:
            return None
        absolute = path.startswith(b"/")
        if absolute and root is not None:
            return root
        fs = _fs_of(task or self._tasks.get(_KTHREADD), self._snapshot)
        if fs is None:
            return None
        place = fs.root if absolute else fs.pwd
        return None if place is None else self._mounts.at(place.mount)


def _fs_of(task: Task | None, snapshot: Snapshot) -> FsStruct | None:
    """What a task looks paths up with."""
    return None if task is None or task.fs is None else snapshot.fs_by_address.get(task.fs)


def make_header(snapshot: Snapshot, source: LookupSource, with_users: bool) -> TraceHeader:
    """Of a trace that begins now."""
    now, up = datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME)
    fs = _fs_of(find_pid1(snapshot), snapshot)
    return TraceHeader(
        tool=__version__,
        release=snapshot.kernel.release,
        generation=snapshot.kernel.generation,
        nodename=os.uname().nodename,
        began=utc_text(now),
        boot_at=utc_text(now - timedelta(seconds=up)),
        source=source,
        watched="kernel threads and user tasks" if with_users else "kernel threads",
        isolation_mount=snapshot.kernel.knullfs,
        init_root_mount=None if fs is None or fs.root is None else fs.root.mount,
        modules=snapshot.modules or [],
    )


def chosen_tasks(snapshot: Snapshot, names: Sequence[str]) -> frozenset[int]:
    """The user tasks that were asked for, with all threads of those whose pid was given.

    :raises TargetError: if there is none of that pid or name
    """
    found: set[int] = set()
    for name in names:
        those = {
            task.pid
            for task in snapshot.tasks
            if not is_kernel_thread(task) and (name in (str(task.pid), str(task.tgid)) or task.name == name)
        }
        if not those:
            raise TargetError(f"there is no user task {name!r}: give a pid, or a name as ps -o comm shows it")
        found |= those
    return frozenset(found)


def utc_text(moment: datetime) -> str:
    """ISO 8601, in milliseconds."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
