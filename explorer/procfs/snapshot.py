"""A snapshot from /proc: of the running kernel, with no address of it, and nothing that only its memory has.

In place of addresses stand numbers that /proc has: a pid, the pid of one sharer of an ``fs_struct``, the id of a mount,
the number of a namespace. None of them can be taken for an address of the kernel's.
"""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from explorer.model import (
    Capture,
    CaptureError,
    FsStruct,
    Generation,
    Kernel,
    Owner,
    Snapshot,
    Source,
    Task,
    classify_owner,
    is_isolating,
    kernel_text,
)
from explorer.version import __version__

from .generation import find_generation
from .mounttable import NamespaceView, view_namespace
from .places import Places
from .sharing import Sharing
from .threads import Thread, kind_of, list_threads, read_thread

__all__ = ("capture_proc",)

Progress = Callable[[str, int, int | None], None]

_NOTE = (
    "from /proc: no addresses, no counts, no idle tasks; what is borrowed (fs against real_fs), walked, run by "
    "kernel threads, or mounted and not to be seen from a namespace's root, only the kernel's memory tells"
)
_KTHREADD = 2
_NANOSECONDS = 1_000_000_000


def capture_proc(progress: Progress | None = None) -> Snapshot:
    """Read /proc once.

    :raises TargetError: if it does not tell what kind of kernel this is
    """
    return _Reading(progress or (lambda what, done, total: None)).run()


class _Reading:
    """The state of one capture."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._errors: list[CaptureError] = []
        self._refused: Counter[tuple[str, str]] = Counter()
        self._sharing = Sharing()
        self._generation = find_generation()

    def run(self) -> Snapshot:
        started, taken_at = time.perf_counter(), datetime.now(UTC)
        threads = self._read_threads()
        namespaces = {pid: inum for pid, thread in threads.items() if (inum := self._namespace(thread))}
        views = self._view(namespaces)
        places = Places(views, is_isolating(self._generation))
        groups, fs_structs = self._read_groups(threads, places)
        kthreadd = groups.get(_KTHREADD)
        sharers = Counter(groups.values())
        tasks = [self._task(thread, threads, groups, namespaces, sharers) for thread in threads.values()]
        for fs in fs_structs.values():
            fs.sharers = sharers[fs.address]
        for (what, why), count in self._refused.items():
            where = f"{count} task{'s' * (count != 1)}"
            self._errors.append(CaptureError(where=where, what=what, why=why))
        return Snapshot(
            capture=Capture(
                tool_version=__version__,
                taken_at=taken_at.isoformat(timespec="milliseconds"),
                source=Source(kind="proc", target="proc"),
                types="proc",
                duration_s=round(time.perf_counter() - started, 6),
                consistent=False,
                notes=[_NOTE],
                lost_mounts="/proc shows no namespace that no task is in, and no mount below a namespace's root",
                kernel_time=taken_at.isoformat(timespec="milliseconds"),
            ),
            kernel=self._kernel(kthreadd, namespaces.get(1), places),
            tasks=sorted(tasks, key=lambda task: task.pid),
            fs_structs=sorted(fs_structs.values(), key=lambda fs: fs.address),
            mounts=sorted(
                (mount for view in views.values() for mount in view.mounts.values()),
                key=lambda one: one.address,
            ),
            mount_namespaces=[Places.namespace(view) for _, view in sorted(views.items())],
            errors=self._errors,
        )

    def _refuse(self, what: str, why: str) -> None:
        """Counted, not listed: of a user most tasks say the same."""
        self._refused[what, why] += 1

    def _read_threads(self) -> dict[int, Thread]:
        threads = {}
        for tgid, pid in list_threads():
            try:
                threads[pid] = read_thread(tgid, pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has gone meanwhile
            if not len(threads) % 1000:
                self._progress("tasks", len(threads), None)
        self._progress("tasks", len(threads), len(threads))
        return threads

    def _namespace(self, thread: Thread) -> int | None:
        if thread.has_exited:
            return None
        try:
            return int(str(Path(f"{thread.path}/ns/mnt").readlink()).partition("[")[2].rstrip("]"))
        except (FileNotFoundError, ProcessLookupError):
            return None
        except OSError as error:
            self._refuse("mnt_ns", error.strerror or str(error))
            return None

    def _view(self, namespaces: dict[int, int]) -> dict[int, NamespaceView]:
        views: dict[int, NamespaceView] = {}
        failed: dict[int, str] = {}
        for pid, inum in namespaces.items():
            if inum in views:
                continue
            try:
                views[inum] = view_namespace(pid, inum)
                failed.pop(inum, None)
            except OSError as error:  # another task of it may still be there
                failed[inum] = error.strerror or str(error)
                if isinstance(error, PermissionError):
                    views[inum] = NamespaceView(inum, None, {})
        for inum, why in failed.items():
            self._errors.append(CaptureError(where=f"namespace {inum}", what="mounts", why=why))
        return views

    def _read_groups(
        self, threads: dict[int, Thread], places: Places
    ) -> tuple[dict[int, int], dict[int, FsStruct]]:
        """Which ``fs_struct`` each thread has, and these: by one thread of it that may be looked into."""
        groups: dict[int, int] = {}
        fs_structs: dict[int, FsStruct] = {}
        for number, thread in enumerate(threads.values()):
            if thread.has_exited:
                continue
            if not number % 1000:
                self._progress("fs_structs", number, len(threads))
            try:
                group = self._sharing.group_of(thread.pid)
                if group not in fs_structs:
                    fs_structs[group] = self._fs_struct(group, thread, places)
                groups[thread.pid] = group
            except (FileNotFoundError, ProcessLookupError):
                continue
            except OSError as error:
                self._refuse("fs", error.strerror or str(error))
        return groups, fs_structs

    def _fs_struct(self, address: int, thread: Thread, places: Places) -> FsStruct:
        def path(name: str) -> object:
            return places.path_ref(f"{thread.path}/{name}", lambda why: self._refuse(name, why))

        return FsStruct.model_validate(
            {
                **{"address": address, "users": None, "sharers": 0, "umask": thread.umask},
                **{"in_exec": None, "seq": None, "unstable": False, "root": path("root"), "pwd": path("cwd")},
            }
        )

    def _task(
        self,
        thread: Thread,
        threads: dict[int, Thread],
        groups: dict[int, int],
        namespaces: dict[int, int],
        sharers: Counter[int],
    ) -> Task:
        fs = groups.get(thread.pid)
        return Task(
            address=thread.pid,
            pid=thread.pid,
            tgid=thread.tgid,
            ppid=thread.ppid,
            comm=thread.comm,
            kind=kind_of(thread, threads.get(thread.ppid)),
            state=thread.state,
            flags=thread.flags,
            fs=fs,
            real_fs=None,
            borrowing=None if is_isolating(self._generation) else False,
            owner=self._owner(thread, groups, sharers),
            mnt_ns=namespaces.get(thread.pid),
            start_time=thread.ticks * _NANOSECONDS // os.sysconf("SC_CLK_TCK"),
            kthread=None,
            cgroup=thread.cgroup,
            container=thread.container,
            pid_in_namespace=thread.pid_in_namespace,
        )

    def _owner(self, thread: Thread, groups: dict[int, int], sharers: Counter[int]) -> Owner | None:
        """Of those who share PID 1's, on a kernel that isolates, only memory tells whether that publishes it."""
        if thread.has_exited:
            return Owner.NONE
        fs, kthreadd = groups.get(thread.pid), groups.get(_KTHREADD)
        if fs is None or kthreadd is None:
            return None
        if is_isolating(self._generation) and fs == groups.get(1):
            return None
        owner = classify_owner(fs, sharers[fs], kthreadd, None)
        # Whoever may not be asked about may share it.
        return None if owner is Owner.PRIVATE and any(what == "fs" for what, _ in self._refused) else owner

    def _kernel(self, init_fs: int | None, init_ns: int | None, places: Places) -> Kernel:
        return Kernel(
            release=platform.release(),
            build_id=None,
            generation=self._generation,
            init_fs=init_fs,
            userspace_init_fs=None,
            knullfs=places.isolation_mount if self._generation is Generation.ISOLATED else None,
            init_mnt_ns=init_ns,
            boot_time=_boot_time(),
            cmdline=_cmdline(),
        )


def _boot_time() -> str | None:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return datetime.fromtimestamp(int(line.split()[1]), UTC).isoformat(timespec="milliseconds")
    return None


def _cmdline() -> str | None:
    try:
        return kernel_text(Path("/proc/cmdline").read_bytes().rstrip(b"\n"))
    except OSError:
        return None
