"""What the kernel as a whole is doing right now: workqueues, helpers, the paths it is set to open.

Nothing here is indispensable: a kernel whose types lack what a part needs loses that part, with an error entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from explorer.capture.memory import Memory
from explorer.capture.paths import DcacheLookup, MountTable, PathRefs, probe_dcache
from explorer.capture.tasks import JiffiesClock
from explorer.model import KernelSetting, Task, UserModeHelper

from .helpers import HelperReader, probe_helpers
from .programs import ProgramReader, probe_programs
from .settings import read_settings
from .workqueues import BusyWorker, WorkqueueReader, WorkqueueTable, probe_workqueues

__all__ = ("KernelActivity",)


class KernelActivity:
    """Reads the activity of one kernel, a part at a time."""

    def __init__(self, memory: Memory, paths: PathRefs, user_memory: bool) -> None:
        """:param user_memory: the memory of processes may be read, too"""
        self._memory = memory
        self._paths = paths
        self._user_memory = user_memory

    def make_lookup(self, mounts: MountTable, builder: PathRefs) -> DcacheLookup | None:
        """What looks paths up as the kernel would."""
        layout = self._memory.probe("dcache", probe_dcache)
        if layout is None:
            return None
        return DcacheLookup(self._memory, layout, mounts, builder)

    def read_workqueues(self, function: Callable[[int], str | None], jiffies: JiffiesClock) -> WorkqueueTable:
        """All workqueues. :param function: names a function"""
        layout = self._memory.probe("workqueues", probe_workqueues)
        if layout is None:
            return WorkqueueTable([], [])
        return WorkqueueReader(self._memory, layout, function, jiffies).read_all()

    def read_helpers(
        self, busy: Sequence[BusyWorker], tasks: Sequence[Task], parent_of: Callable[[int], int]
    ) -> list[UserModeHelper]:
        """The user mode helpers in flight. :param parent_of: task -> ``real_parent``"""
        layout = self._memory.probe("usermodehelpers", probe_helpers)
        if layout is None:
            return []
        programs = self._memory.probe("programs", probe_programs)
        reader = (
            None
            if programs is None
            else ProgramReader(self._memory, programs, self._paths, self._user_memory)
        )
        return HelperReader(self._memory, layout, reader).read_helpers(busy, tasks, parent_of)

    def read_settings(self, lookup: DcacheLookup | None) -> list[KernelSetting]:
        """The kernel's own paths; none where paths cannot be looked up."""
        if lookup is None:
            return []
        return read_settings(self._memory, lookup)
