"""Traces made by hand: kernels of three generations, and lookups with the stacks that real kernels show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explorer.codec import encode_trace_line
from explorer.model import (
    Generation,
    LoadedModule,
    Lookup,
    LookupPlace,
    Placement,
    TaskKind,
    TraceEnd,
    TraceFrame,
    TraceHeader,
)

__all__ = (
    "DEVTMPFS",
    "END",
    "HOSTILE",
    "LOST",
    "NULLFS",
    "OTHER",
    "ROOTFS",
    "STACK",
    "frames",
    "header",
    "lookup",
    "write_trace",
)

NULLFS = LookupPlace(mount=0xFFFF888000000300, id=3, fstype="nullfs", placement=Placement.NULLFS)
ROOTFS = LookupPlace(mount=0xFFFF888000000200, id=2, fstype="rootfs", placement=Placement.INIT_ROOT)
DEVTMPFS = LookupPlace(mount=0xFFFF888000000B00, id=11, fstype="devtmpfs", placement=Placement.NS_ROOT)
OTHER = LookupPlace(mount=0xFFFF888000002300, id=35, fstype="tmpfs", placement=Placement.CHROOT)

#: What a path, a name of a task or a function may hold, whoever made it.
HOSTILE = "/a\n\x1b[2J[bold]\udcff‮|`{x}" + "x" * 100

END = TraceEnd(ended="2026-11-27T00:01:00Z", reason="done", lookups=1, events_lost=0, lookups_lost=0)
LOST = TraceEnd(
    ended="2026-11-27T00:01:00Z",
    reason="done",
    lookups=1,
    events_lost=7,
    lookups_lost=1,
    problems=["a buffer: \x1b[2J"],
)
#: ``badfn`` of the module ``bad``, on a kworker of a workqueue.
STACK = (
    "path_lookupat",
    "filename_lookup.part.0",
    "kern_path",
    "badfn [bad]",
    "process_one_work",
    "worker_thread",
    "kthread",
    "ret_from_fork",
    "ret_from_fork_asm",
)


def frames(*names: str) -> list[TraceFrame]:
    """``function`` or ``function [module]``, innermost first; ``?``: no symbol is near."""
    made = []
    for number, name in enumerate(names):
        function, bracket, module = name.partition(" [")
        made.append(
            TraceFrame(
                address=0xFFFFFFFF81000000 + 16 * number,
                function=None if function == "?" else function,
                module=module.removesuffix("]") if bracket else None,
            )
        )
    return made


def header(generation: Generation = Generation.ISOLATED) -> TraceHeader:
    isolated = generation in (Generation.ISOLATED, Generation.RFC_V1)
    return TraceHeader(
        tool="0",
        release="7.3.4" if isolated else "6.12.107",
        generation=generation,
        nodename="guest",
        began="2026-11-27T00:00:00Z",
        boot_at="2026-11-26T00:00:00Z",
        source="fprobe",
        watched="kernel threads",
        isolation_mount=NULLFS.mount if isolated else None,
        init_root_mount=ROOTFS.mount,
        modules=[LoadedModule(name="bad", taints="OE"), LoadedModule(name="btrfs", taints="")],
    )


def lookup(
    path: str | None = "/etc/passwd",
    start: LookupPlace | None = NULLFS,
    stack: Sequence[str] | None = STACK,
    **changed: object,
) -> Lookup:
    """A kworker's, that failed in nullfs."""
    made = Lookup(
        time_s=9.5,
        cpu=0,
        pid=7,
        comm="kworker/0:1",
        kind=TaskKind.KWORKER,
        in_kernel=True,
        path=path,
        path_cut=False,
        flags=0x51,
        start=start,
        root=start,
        result=-2,
        tries=1,
        stack=None if stack is None else frames(*stack),
    )
    return made.model_copy(update=changed)


def write_trace(
    path: Path, header: TraceHeader, lookups: Sequence[Lookup], end: TraceEnd | None = END
) -> Path:
    """A file of it; ``end=None``: it was cut off."""
    records: list[TraceHeader | Lookup | TraceEnd] = [header, *lookups, *([] if end is None else [end])]
    path.write_bytes(b"".join(map(encode_trace_line, records)))
    return path
