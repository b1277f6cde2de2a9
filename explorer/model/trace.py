"""Path lookups as they happened, seen by the kernel's own tracing: what a snapshot is always too late for. And a frame
of a recording: a snapshot, with the lookups before it.

A trace is a header, lookups in the order in which they ended, and an end that says what was lost. Each lookup is one
``struct nameidata`` of fs/namei.c, from ``path_init()`` to its result; a walk that the kernel began again (in RCU
mode it may fail with ECHILD, or end in ESTALE) is the same lookup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from .activity import LoadedModule
from .base import Address, HexInt, KernelInt, KernelText, Record
from .fs import Placement
from .snapshot import Generation, Snapshot
from .task import TaskKind

__all__ = (
    "TRACE_FORMAT",
    "TRACE_VERSION",
    "Frame",
    "Lookup",
    "LookupPlace",
    "LookupSource",
    "Trace",
    "TraceEnd",
    "TraceFrame",
    "TraceHeader",
)

TRACE_FORMAT: Literal["nullfs-explorer trace"] = "nullfs-explorer trace"
TRACE_VERSION = 1

#: How the kernel is asked: fprobe events with BTF arguments, or kprobe events with offsets from BTF.
LookupSource = Literal["fprobe", "kprobe"]


class LookupPlace(Record):
    """A mount that a lookup began in, or had as its root."""

    mount: Address
    """``struct mount``."""
    id: KernelInt | None
    """``mnt_id``; ``None``: a mount that could not be read."""
    fstype: KernelText | None
    placement: Placement | None
    """Where the root of that mount is; ``None``: not known."""


class TraceFrame(Record):
    """One frame of the kernel stack, innermost first."""

    address: Address
    function: KernelText | None
    """By /proc/kallsyms, with whatever the compiler put behind it (``.part.0``); ``None``: no symbol is near."""
    module: KernelText | None
    """``None``: the kernel itself."""


class Lookup(Record):
    """One path lookup."""

    time_s: float
    """When it began: seconds since boot, by the trace clock ``boot``."""
    cpu: KernelInt
    pid: KernelInt
    comm: KernelText
    """At that moment."""
    kind: TaskKind | None
    """As the snapshot at the beginning has it; of a task that came later, by its stack; ``None``: not known."""
    in_kernel: bool
    """The kernel itself asked (the stack begins in ``ret_from_fork``), not a system call or a fault of a program."""
    path: KernelText | None
    """``nd->name->name``; ``None``: it could not be read."""
    path_cut: bool
    """It goes on: an event of this kernel's buffer takes no more."""
    flags: HexInt | None
    """``nd->flags``: the ``LOOKUP_*`` bits, which kernels number in their own ways."""
    start: LookupPlace | None
    """``nd->path.mnt`` as ``path_init()`` left it: root for an absolute path, else the working directory or one that is
    given; ``None``: none, as it had failed by then, or not known: also where another mount was when one looked."""
    root: LookupPlace | None
    """``nd->root.mnt``; ``None``: not set, as a relative path needs none before a ``..``."""
    result: KernelInt | None
    """0, or minus an errno; ``None``: it had not ended when the trace did, or the end was lost."""
    tries: KernelInt
    """How often the kernel began: 1, and one more for each ECHILD or ESTALE."""
    stack: list[TraceFrame] | None
    """From the caller of ``path_init()`` on; ``None``: lost."""
    workqueue: KernelText | None = None
    """From which the work is run that asks; ``None``: no work asks, its worker runs the same function from several
    workqueues, or it is not known."""


class TraceHeader(Record):
    """What is known when a trace begins."""

    format: Literal["nullfs-explorer trace"] = TRACE_FORMAT
    version: int = TRACE_VERSION
    tool: str
    """The version that wrote it."""
    release: KernelText
    generation: Generation
    """Before 7.3 (all but ``isolated``) every kernel thread starts where init does."""
    nodename: KernelText
    began: str
    """UTC, ISO 8601."""
    boot_at: str
    """When the machine had been up for 0 seconds, of the same clock: ``time_s`` counts from there."""
    source: LookupSource
    watched: Literal["kernel threads", "kernel threads and user tasks"]
    isolation_mount: Address | None
    """The nullfs that kernel threads are rooted in; ``None`` where they are not."""
    init_root_mount: Address | None
    """The mount of PID 1's root."""
    modules: list[LoadedModule] = Field(default_factory=list)


class TraceEnd(Record):
    """What is known when it has ended. A file without one was cut off."""

    ended: str
    """UTC, ISO 8601."""
    reason: Literal["done", "until", "interrupted", "broken"]
    lookups: KernelInt
    """How many were written."""
    events_lost: KernelInt
    """Events that the kernel had no room for (``overrun``, ``dropped events`` of its buffers): up to four a lookup."""
    lookups_lost: KernelInt
    """Lookups of which only the end came: their path is not known. Of others, nothing came: see ``events_lost``."""
    problems: list[str] = Field(default_factory=list)
    """What could not be read or understood, each kind once."""


class Trace(Record):
    """A whole trace, as a file of it has it."""

    header: TraceHeader
    lookups: list[Lookup]
    """In the order in which they ended: what had not ended comes last."""
    end: TraceEnd | None
    """``None``: it was cut off, or goes on."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. The snapshot shares records with those of other frames: it is to be read, not changed."""

    index: int
    """From 0, over all segments."""
    seconds: float
    """Since the recording began, by the clock the kernel ran on: the time a guest was stopped does not count."""
    segment: int
    """Which boot: from 0, one more after each reboot or kexec."""
    snapshot: Snapshot | None
    """``None`` where the kernel could not be read."""
    why: str | None = None
    """Why it could not be read; ``None`` where it could."""
    lookups: tuple[Lookup, ...] = ()
    """Path lookups that ended between the frame before and this one, if they were traced."""
    lookups_lost: int = 0
    """Those that there was no room for."""
