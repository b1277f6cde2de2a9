"""Capture: one open kernel becomes one :class:`~explorer.model.Snapshot`.

Reads the kernel once, in bulk, in this order: tasks, fs_structs, namespaces, paths, what kernel threads run.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from explorer.capture.kernel import read_struct_sizes
from explorer.capture.memory import (
    CheckedReader,
    ErrorLog,
    Memory,
    MemoryReader,
    find_direct_map,
    probe_layout,
    probed,
)
from explorer.capture.paths import MountTable, load_unreached
from explorer.capture.tasks import (
    FoundTasks,
    JiffiesClock,
    KthreadReader,
    SchedulerClocks,
    StackReader,
    TaskActivity,
    TaskReader,
    WalkReader,
)
from explorer.model import (
    Capture,
    CaptureError,
    Kernel,
    Snapshot,
    kernel_text,
    made,
    no_garbage_collection,
)
from explorer.targets import TargetError
from explorer.version import __version__

from .generation import WellKnown, find_well_known, read_clocks_ns, read_cmdline, read_nodename
from .ownership import RawKernel
from .places import PlaceReader
from .records import RecordBuilder
from .request import CaptureProgress, CaptureRequest, CaptureStats
from .task_records import TaskRecords

__all__ = ("capture_snapshot",)

#: What is read after the tasks, and is lost if the reader crashes meanwhile.
_LATER = "workqueues, usermodehelpers, settings, modules, log and plugins are missing, mounts may be"
_capture, _kernel, _snapshot = made(Capture), made(Kernel), made(Snapshot)


def _iso(nanoseconds: int | None) -> str | None:
    """A time since 1970; ``None`` for one that is not known, or that no calendar has."""
    if nanoseconds is None:
        return None
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return None


def capture_snapshot(
    request: CaptureRequest, progress: CaptureProgress | None = None, stats: CaptureStats | None = None
) -> Snapshot:
    """Read everything and make the snapshot.

    What cannot be read is ``None`` in the snapshot, with an entry in its ``errors``.

    :raises LookupError: if the kernel's types lack something a capture cannot do without
    """
    with no_garbage_collection():
        return _Capture(request, progress or (lambda what, done, total: None), stats or CaptureStats()).run()


class _Capture:
    """The state of one capture."""

    def __init__(self, request: CaptureRequest, progress: CaptureProgress, stats: CaptureStats) -> None:
        self.request = request
        self.stats = stats
        self.progress = progress
        prog, symbols = request.prog, request.symbols
        self.errors = errors = ErrorLog(request.is_slice)
        if request.cut_off is not None:
            errors.add("target", "memory", request.cut_off)
        self.reader = reader = CheckedReader(prog) if request.checked else MemoryReader(prog)
        layout = probed(prog, "all that is read", probe_layout)
        if request.is_slice:
            layout = layout.of_slice()
        direct_map = find_direct_map(prog, layout, symbols) if request.direct else None
        if direct_map is not None:
            reader.use_direct_map(*direct_map)
        if not request.direct:
            reader.read_strings_exactly()
        self.memory = memory = Memory(prog, reader, layout, symbols, errors, not request.consistent)
        self.mounts = mounts = MountTable(memory)
        self.task_reader = TaskReader(memory)
        self.places = PlaceReader(memory, mounts, self.task_reader)

    def run(self) -> Snapshot:
        stats = self.stats
        started, taken_at = time.perf_counter(), datetime.now(UTC)
        stats.start()
        self.request.guard.doing("it read the tasks")
        known = find_well_known(self.memory)
        progress = self.progress  # not self: a circle would keep all of this until a garbage collection
        tasks = self.task_reader.read_all(lambda count: progress("tasks", count, None))
        if not tasks and self.request.cut_off is not None:
            raise TargetError(
                f"{self.request.source.target}: {self.request.cut_off}, and what leads to the tasks is among it"
            )
        self.progress("tasks", len(tasks), len(tasks))
        stats.mark("tasks")
        self.progress("fs_structs", 0, len(tasks))
        self.places.read_fs_structs(tasks, known)
        stats.mark("fs_structs")
        self.places.read_mounts(tasks)
        if self.memory.live:
            self.places.settle(tasks, known)
        load_unreached(self.memory, self.mounts, self.request.is_slice)
        stats.mark("namespaces")
        snapshot = self._build(tasks, known, taken_at)
        stats.mark("snapshot")
        stats.reads, stats.bytes_read = self.reader.reads, self.reader.bytes_read
        if isinstance(self.reader, CheckedReader):
            stats.compared, stats.differing = self.reader.compared, self.reader.differing
        stats.tasks = len(tasks)
        stats.seconds = snapshot.capture.duration_s = round(time.perf_counter() - started, 6)
        return snapshot

    def _task_activity(self) -> TaskActivity:
        return TaskActivity(
            walks=WalkReader(self.memory),
            clocks=SchedulerClocks(self.memory, self.task_reader.runqueues),
            stacks=StackReader(self.memory) if self.request.types == "dwarf" else None,
        )

    def _build(self, tasks: FoundTasks, known: WellKnown, taken_at: datetime) -> Snapshot:
        request, memory = self.request, self.memory
        jiffies = JiffiesClock(memory)
        kthreads = KthreadReader(memory, jiffies)
        init_task = tasks.get(request.symbols.symbol_address("init_task") or 0)
        init_ns = self.places.namespace_of.get(init_task.nsproxy or 0) if init_task is not None else None
        raw = RawKernel(known, tasks, self.places.fs_structs, self.places.namespace_of, init_task)
        builder = RecordBuilder(memory, self.mounts, self.places.paths, raw)
        records = TaskRecords(memory, raw, builder, kthreads, self._task_activity()).build()
        fs_structs = builder.build_fs_structs()
        self.stats.mark("records")
        now_ns, boot_ns = read_clocks_ns(memory)
        snapshot = _snapshot(
            capture=self._capture(taken_at, tasks, now_ns),
            kernel=self._kernel(builder, known, init_ns, boot_ns),
            tasks=records,
            fs_structs=fs_structs,
            mounts=builder.build_mounts(),
            mount_namespaces=builder.build_namespaces(),
            errors=[],
        )
        # Where memory is missing, what cannot be read of the rest tells whether tasks may be.
        crash = None
        if not request.only_tasks or snapshot.capture.missing_memory is not None:
            crash = self._read_rest(snapshot, tasks, builder, kthreads, jiffies)
        snapshot.errors = self.errors.finish()
        snapshot.capture.not_in_slice = self.errors.not_in_slice
        if crash is not None:
            snapshot.errors.insert(
                0, CaptureError(where="capture", what="the rest", why=f"{crash}: {_LATER}")
            )
        return snapshot

    def _capture(self, taken_at: datetime, tasks: FoundTasks, now_ns: int | None) -> Capture:
        """How it was made. :param now_ns: by the kernel's wall clock, if that could be read"""
        request = self.request
        if now_ns is None and request.crash_time is not None:
            now_ns = request.crash_time * 1_000_000_000
        return _capture(
            tool_version=__version__,
            taken_at=taken_at.isoformat(timespec="milliseconds"),
            source=request.source,
            types=request.types,
            duration_s=0.0,
            consistent=request.consistent,
            notes=list(request.notes),
            missing_memory=request.cut_off or request.missing_memory,
            lost_tasks=tasks.lost,
            lost_mounts=self.mounts.lost,
            pids_checked=tasks.checked,
            kernel_time=_iso(now_ns),
        )

    def _read_rest(
        self,
        snapshot: Snapshot,
        tasks: FoundTasks,
        builder: RecordBuilder,
        kthreads: KthreadReader,
        jiffies: JiffiesClock,
    ) -> str | None:
        """All else, into the snapshot. :returns: how the reader crashed meanwhile, if it did"""
        crash = self.request.guard.keep()
        from explorer.capture.holders import count_tasks

        from .rest import RestReader

        rest = RestReader(self.request, self.memory, self.mounts, builder, self.stats)
        if crash is None:
            rest.read_activity(snapshot, tasks, kthreads, jiffies)
            rest.run_plugins(snapshot)
            # Paths that were met since may have led to more of them.
            snapshot.mounts, snapshot.mount_namespaces = builder.build_mounts(), builder.build_namespaces()
        count_tasks(snapshot, tasks, self.places.namespace_of)
        if crash is None and not (self.request.is_slice and self.mounts.lost):
            self.progress("holders", 0, None)
            rest.read_holders(snapshot, tasks, self.task_reader.per_cpu.values())
        return crash

    def _kernel(
        self, builder: RecordBuilder, known: WellKnown, init_ns: int | None, boot_ns: int | None
    ) -> Kernel:
        request = self.request
        cmdline, nodename = read_cmdline(self.memory), read_nodename(self.memory)
        return _kernel(
            release=request.release,
            build_id=request.build_id,
            generation=known.generation,
            init_fs=known.init_fs,
            userspace_init_fs=known.userspace_init_fs,
            knullfs=builder.knullfs,
            init_mnt_ns=init_ns,
            boot_time=_iso(boot_ns),
            cmdline=None if cmdline is None else kernel_text(cmdline),
            struct_sizes=read_struct_sizes(self.memory),
            nodename=None if nodename is None else kernel_text(nodename),
        )
