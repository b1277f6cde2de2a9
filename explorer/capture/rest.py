"""What is read after the tasks: what the kernel does with paths, what plugins collect, and who holds mounts.

A command that shows tasks alone reads none of it, and does not import it either.
"""

from __future__ import annotations

from collections.abc import Collection

from explorer.capture.holders import HolderReader
from explorer.capture.kernel import KernelActivity, read_log, read_modules
from explorer.capture.memory import Memory
from explorer.capture.paths import DcacheLookup, MountTable
from explorer.capture.tasks import FoundTasks, JiffiesClock, KthreadReader
from explorer.model import Snapshot, fields_of

from .plugins import PluginContext, run_plugins
from .records import RecordBuilder
from .request import CaptureRequest, CaptureStats

__all__ = ("RestReader",)


class RestReader:
    """Reads it into a snapshot that has its tasks, fs_structs, mounts and namespaces already."""

    def __init__(
        self,
        request: CaptureRequest,
        memory: Memory,
        mounts: MountTable,
        builder: RecordBuilder,
        stats: CaptureStats,
    ) -> None:
        self._request = request
        self._memory = memory
        self._mounts = mounts
        self._builder = builder
        self._stats = stats
        self._lookup: DcacheLookup | None = None

    def read_activity(
        self, snapshot: Snapshot, tasks: FoundTasks, kthreads: KthreadReader, jiffies: JiffiesClock
    ) -> None:
        """What the kernel does with paths, and its own paths."""
        request = self._request
        request.guard.doing("it read what the kernel is doing")
        activity = KernelActivity(
            self._memory, self._builder, user_memory=request.direct and not request.is_slice
        )
        self._lookup = activity.make_lookup(self._mounts, self._builder)
        workqueues = activity.read_workqueues(kthreads.function, jiffies)
        snapshot.workqueues = workqueues.workqueues
        snapshot.usermodehelpers = activity.read_helpers(
            workqueues.busy,
            snapshot.tasks,
            lambda address: getattr(tasks.get(address), "real_parent", None) or 0,
        )
        snapshot.settings = activity.read_settings(self._lookup)
        snapshot.modules = read_modules(request.symbols)
        snapshot.log = read_log(self._memory)
        self._stats.mark("kernel activity")

    def run_plugins(self, snapshot: Snapshot) -> None:
        """What they collect; :meth:`read_activity` comes before."""
        request = self._request
        if request.plugins:
            context = PluginContext(
                request.prog,
                request.symbols,
                snapshot.kernel.generation,
                self._builder,
                self._lookup,
                self._memory.errors,
                dict(zip(*fields_of(snapshot.tasks, "pid", "address"), strict=True)),
            )
            context.usermodehelpers = snapshot.usermodehelpers
            context.begins = lambda plugin: request.guard.doing(f"plugin {plugin} collected")
            run = run_plugins(request.plugins, context, self._memory.errors)
            self._stats.tracebacks += run.tracebacks
            snapshot.plugins = run.facts
        self._stats.mark("plugins")

    def read_holders(self, snapshot: Snapshot, tasks: FoundTasks, per_cpu: Collection[int]) -> None:
        """Who holds mounts."""
        self._request.guard.doing("it read who holds mounts")
        reader = HolderReader(self._memory, self._mounts, self._builder.paths, per_cpu, snapshot, tasks)
        reader.read(self._request.holders_of)
        self._stats.mark("holders")
