"""What the kernel as a whole is doing right now: workqueues, helpers, the paths it is set to open.

Nothing here is indispensable: a kernel whose types lack what a part needs loses that part, with an error entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import drgn

from explorer.capture.memory import ErrorLog, MemoryReader, SymbolTable
from explorer.capture.paths import DcacheLookup, MountTable, PathRefs, probe_dcache
from explorer.capture.tasks import JiffiesClock
from explorer.model import KernelSetting, Task, UserModeHelper

from .helpers import HelperReader, probe_helpers
from .settings import read_settings
from .workqueues import BusyWorker, WorkqueueReader, WorkqueueTable, probe_workqueues

__all__ = ("KernelActivity",)

_T = TypeVar("_T")


class KernelActivity:
    """Reads the activity of one kernel, a part at a time. :param live: the kernel runs"""

    def __init__(
        self,
        prog: drgn.Program,
        reader: MemoryReader,
        symbols: SymbolTable,
        errors: ErrorLog,
        live: bool,
    ) -> None:
        self._prog = prog
        self._reader = reader
        self._symbols = symbols
        self._errors = errors
        self._live = live

    def _probe(self, what: str, probe: Callable[[drgn.Program], _T]) -> _T | None:
        known = self._prog.cache.setdefault("nullfs-explorer layouts", {})
        try:
            if what not in known:
                known[what] = probe(self._prog)
            return cast(_T, known[what])
        except LookupError as error:
            self._errors.add(what, "layout", str(error))
            return None

    def make_lookup(self, mounts: MountTable, builder: PathRefs) -> DcacheLookup | None:
        """What looks paths up from init's root."""
        layout = self._probe("dcache", probe_dcache)
        if layout is None:
            return None
        return DcacheLookup(
            self._reader, layout, mounts, builder, self._symbols, self._errors, live=self._live
        )

    def read_workqueues(self, function: Callable[[int], str | None], jiffies: JiffiesClock) -> WorkqueueTable:
        """All workqueues. :param function: names a function"""
        layout = self._probe("workqueues", probe_workqueues)
        if layout is None:
            return WorkqueueTable([], [])
        reader = WorkqueueReader(self._reader, layout, function, jiffies, self._errors, self._live)
        return reader.read_all(self._symbols)

    def read_helpers(
        self, busy: Sequence[BusyWorker], tasks: Sequence[Task], parent_of: Callable[[int], int]
    ) -> list[UserModeHelper]:
        """The user mode helpers in flight. :param parent_of: task -> ``real_parent``"""
        layout = self._probe("usermodehelpers", probe_helpers)
        if layout is None:
            return []
        reader = HelperReader(self._reader, layout, self._symbols, self._errors)
        return reader.read_helpers(busy, tasks, parent_of)

    def read_settings(self, lookup: DcacheLookup | None) -> list[KernelSetting]:
        """The kernel's own paths; none where paths cannot be looked up."""
        if lookup is None:
            return []
        return read_settings(self._prog, self._reader, self._symbols, lookup, self._errors)
