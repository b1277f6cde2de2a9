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
    "SAVED",
    "STACK",
    "frames",
    "header",
    "lookup",
    "write_saved",
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


_KWORKER = ("process_one_work", "worker_thread", "kthread", "ret_from_fork", "ret_from_fork_asm")
_KERN_PATH = ("path_lookupat", "filename_lookup", "kern_path")
_FILP_OPEN = ("path_openat", "do_filp_open", "file_open_name", "filp_open")
_APTPL = (
    "__core_scsi3_write_aptpl_to_file [target_core_mod]",
    "core_scsi3_emulate_pro_register [target_core_mod]",
)


def _machine(generation: Generation, release: str) -> TraceHeader:
    modules = [
        LoadedModule(name="poll_cfg", taints="OE"),
        LoadedModule(name="target_core_mod", taints=""),
        LoadedModule(name="overlay", taints=""),
    ]
    return header(generation).model_copy(update={"release": release, "nodename": "lab", "modules": modules})


def _machines_lookups(generation: Generation) -> list[Lookup]:
    isolated = generation is Generation.ISOLATED
    own, missing = (NULLFS, -2) if isolated else (ROOTFS, 0)
    poll = (*_FILP_OPEN, "poll_cfg_work [poll_cfg]", *_KWORKER)
    firmware = (*_FILP_OPEN[:2], "do_file_open_root", "file_open_root", "kernel_read_file_from_path_initns")
    return [
        lookup("loop0", DEVTMPFS, ("filename_create", "start_creating_path", "handle_create", "devtmpfsd", "kthread"),
               time_s=61.204, pid=23, comm="kdevtmpfs", kind=TaskKind.KTHREAD, root=None, result=0),
        lookup("/etc/poll.conf", own, poll, time_s=64.117, pid=29, comm="kworker/0:2", result=missing),
        lookup("/lib/firmware/acme/phy.bin", ROOTFS,
               (*firmware, "_request_firmware", "request_firmware_work_func", *_KWORKER),
               time_s=66.031, pid=29, comm="kworker/0:2", result=-2),
        lookup("/var/target/pr/aptpl_mysn", ROOTFS,
               (*_FILP_OPEN, *_APTPL, "target_queued_submit_work [target_core_mod]", *_KWORKER),
               time_s=70.5, pid=31, comm="kworker/1:1", cpu=1, result=0),
        lookup("/etc/poll.conf", own, poll, time_s=74.119, pid=29, comm="kworker/0:2", result=missing),
    ]  # fmt: skip


#: File of tests/data/trace -> the trace in it: what the pages show commands on.
SAVED = {
    "saved-7.3.jsonl": (Generation.ISOLATED, "7.3.4+deb13-cloud-amd64"),
    "saved-6.12.jsonl": (Generation.LEGACY, "6.12.107+deb13-cloud-amd64"),
}


def write_saved(directory: Path) -> None:
    """The traces of :data:`SAVED`."""
    for name, (generation, release) in SAVED.items():
        lookups = _machines_lookups(generation)
        end = END.model_copy(update={"lookups": len(lookups)})
        write_trace(directory / name, _machine(generation, release), lookups, end)
