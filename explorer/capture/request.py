"""What a capture is asked for, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import drgn

from explorer.model import Snapshot, Source
from explorer.targets import CrashGuard, OpenKernel
from explorer.targets.symbols import KernelTypes

if TYPE_CHECKING:
    from explorer.plugin import Plugin

__all__ = ("CaptureProgress", "CaptureRequest", "CaptureStats")

#: Told what is being read, how many of it so far, and of how many (``None``: unknown).
CaptureProgress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """An open kernel, and what the snapshot shall say of how it was opened."""

    prog: drgn.Program
    symbols: KernelTypes
    source: Source
    types: Literal["btf", "dwarf"]
    release: str
    build_id: str | None
    consistent: bool
    notes: list[str] = field(default_factory=list)
    missing_memory: str | None = None
    cut_off: str | None = None
    plugins: Sequence[Plugin] = ()
    direct: bool = True
    """Read the direct map as physical memory, and strings by pages; not for a slice, which has to hold the page tables
    too, and nothing that lies behind a string."""
    checked: bool = False
    """Read everything by way of the page tables, too, and compare."""
    is_slice: bool = False
    crash_time: int | None = None
    """When the kernel crashed by VMCOREINFO, in seconds since 1970."""
    guard: CrashGuard = field(default_factory=CrashGuard)
    holders_of: Callable[[Snapshot], Collection[int]] = lambda snapshot: ()
    """Chooses, by address, mounts of which the holders are read besides those that are detached."""
    only_tasks: bool = False
    """Read tasks, fs_structs, and where these lie: nothing else, unless memory is missing."""

    @classmethod
    def from_kernel(
        cls, kernel: OpenKernel, plugins: Sequence[Plugin] = (), guard: CrashGuard | None = None
    ) -> CaptureRequest:
        """What an open kernel says of itself. :param guard: what keeps the tasks if reading the rest crashes"""
        return cls(
            prog=kernel.prog,
            symbols=kernel.types,
            source=kernel.source,
            types=kernel.types.mode,
            release=kernel.program.vmcoreinfo.osrelease,
            build_id=kernel.types.build_id or None,
            consistent=kernel.program.consistent,
            notes=[*filter(None, [kernel.program.cut_off]), *kernel.notes],
            missing_memory=kernel.program.missing_memory,
            cut_off=kernel.program.cut_off,
            plugins=plugins,
            is_slice=kernel.program.is_slice,
            crash_time=kernel.program.vmcoreinfo.crash_time,
            guard=guard or CrashGuard(),
        )


@dataclass(slots=True)
class CaptureStats:
    """What a capture cost."""

    reads: int = 0
    bytes_read: int = 0
    tasks: int = 0
    seconds: float = 0.0
    tracebacks: list[str] = field(default_factory=list)
    """Of plugins that raised; for ``--debug``."""
    compared: int = 0
    """Reads that were made in the long way too, if that was asked for."""
    differing: list[str] = field(default_factory=list)
    """Those among them that did not give the same."""
    phases: dict[str, float] = field(default_factory=dict)
    """What took how long, in seconds, in the order it was done."""
    _since: float = field(default_factory=time.perf_counter, repr=False)

    def mark(self, phase: str) -> None:
        """The time since the last mark was spent on ``phase``; :meth:`start` begins anew."""
        now = time.perf_counter()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self._since
        self._since = now

    def start(self) -> None:
        """What came before is no phase."""
        self._since = time.perf_counter()
