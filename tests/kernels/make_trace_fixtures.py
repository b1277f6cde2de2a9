"""Rewrites tests/data/trace: pages of real ring buffers, with what the kernels say of them and of what they did.

``python -m tests.kernels.make_trace_fixtures``; each KERNEL/ has

* ``cpuN.raw``: pages as ``trace_pipe_raw`` gave them; ``page_kb`` of ``about.json`` is their size
* ``header_page`` and ``EVENT.format``: what describes them
* ``account.json``: every lookup of the module ``walker``, paths in hexadecimal
* ``kallsyms``, ``modules``: the lines about what is in the stacks
* ``about.json``: the release, which definitions of events the kernel takes, and the addresses of what lookups begin in
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import sys
from bisect import bisect_right
from pathlib import Path
from typing import Any

from explorer.capture import CaptureRequest, NameidataOffsets, capture_snapshot, nameidata_offsets
from explorer.model import Snapshot, TaskKind
from explorer.targets import open_kernel
from explorer.targets.detect import detect_target
from explorer.tracing.events import define_with
from tests.kernels.lab import Guest, GuestOptions
from tests.kernels.subsystems import run_steps
from tests.kernels.trace_guest import HOSTILE, LOOKERS, Order, load_walker, walk

__all__ = ("main",)

_DATA = Path(__file__).parents[1] / "data" / "trace"
_LINES = ("6.1", "6.12", "7.3")
_TRACEFS = "/sys/kernel/tracing"
_INSTANCE = f"{_TRACEFS}/instances/fixture"
_ARGUMENTS = (
    "path=nd->name->name:string start=nd->path.mnt:u64 root=nd->root.mnt:u64 flags=nd->flags:u32 nd=nd:u64"
)
#: Definitions that are only tried.
_TRIED = (
    *(
        f"{kind}:fixture/tried {function}"
        for kind in "fp"
        for function in (
            *("link_path_walk", "path_init", "set_root", "nd_jump_root", "terminate_walk", "filename_lookup"),
            *("path_lookupat", "path_openat", "path_parentat", "filename_parentat", "__filename_parentat"),
        )
    ),
    "f:fixture/tried link_path_walk path=nd->name->name:string start=nd->path.mnt root=nd->root.mnt",
    "f:fixture/tried filename_lookup%return result=$retval path=name->name:string",
    "f:fixture/tried path_lookupat%return result=$retval nd=nd:u64",
    f"f:fixture/tried path_init {_ARGUMENTS}",
    f"p:fixture/tried path_init {_ARGUMENTS}",
    "p:fixture/tried terminate_walk path=nd->name->name:string",
    "r:fixture/tried path_lookupat result=$retval nd=%di:u64",
)


def _orders() -> list[Order]:
    orders = [Order(b"/etc/passwd", who) for who in LOOKERS]
    orders += [Order(b"etc/relative", who) for who in LOOKERS]
    orders += [
        Order(b"/tmp/link/file"),
        Order(b"tmp/link/file", "kthread"),
        Order(b"/tmp/real/file", call="filp_open"),
    ]
    orders += [
        Order(b"/tmp/link/file", "workqueue", borrow=True),
        Order(b"/none", "kthread", "filp_open", True),
    ]
    orders += [Order(path, who) for path, who in zip(HOSTILE, LOOKERS, strict=False)]
    return [
        *orders,
        Order(b"/bin/busybox", call="helper"),
        Order(b"/not-there", "user"),
        Order(b"/last", "kthread"),
    ]


def _read(guest: Guest, path: str) -> bytes:
    return base64.b64decode(run_steps(guest, f"gzip -c {path} | base64"))


def _file(guest: Guest, path: str) -> bytes:
    return gzip.decompress(_read(guest, path))


def _takes(guest: Guest, definition: str) -> bool:
    return guest.sh(f"echo '{definition}' >>{_TRACEFS}/dynamic_events")[0] == 0


def _try_definitions(guest: Guest) -> dict[str, bool]:
    tried = {}
    for definition in _TRIED:
        tried[definition] = _takes(guest, definition)
        if tried[definition]:
            run_steps(guest, f"echo '-:fixture/tried' >>{_TRACEFS}/dynamic_events")
    return tried


def _define(guest: Guest, offsets: NameidataOffsets) -> dict[str, str]:
    """Event -> its definition: those of the tool, as this kernel takes them."""
    taken: dict[str, str] = {}

    def take(definition: str) -> bool:
        if not _takes(guest, definition):
            return False
        taken[definition.split()[0].partition("/")[2]] = definition
        return True

    return {name: taken[name] for name in define_with(take, "fixture", offsets).names}


def _kernel_pids(snapshot: Snapshot) -> list[int]:
    kinds = (TaskKind.KTHREAD, TaskKind.KWORKER, TaskKind.RESCUER)
    return [task.pid for task in snapshot.tasks if task.kind in kinds and task.pid]


def _start(guest: Guest, snapshot: Snapshot, events: dict[str, str]) -> int:
    """Make an instance and let it record. Returns the size of a page in KB."""
    pids = " ".join(map(str, _kernel_pids(snapshot)))
    run_steps(
        guest,
        f"mkdir {_INSTANCE}; cd {_INSTANCE}; echo 0 >tracing_on; echo boot >trace_clock; echo 0 >options/overwrite",
        f"cd {_INSTANCE}; echo 512 >buffer_size_kb; echo '{pids}' >set_event_pid; echo 1 >options/event-fork",
        *(f"echo 1 >{_INSTANCE}/events/fixture/{name}/enable" for name in events),
        f"echo stacktrace >{_INSTANCE}/events/fixture/walk/trigger",
    )
    page_kb = 4
    if guest.sh(f"echo 8 >{_INSTANCE}/buffer_subbuf_size_kb")[0] == 0:
        page_kb = int(run_steps(guest, f"cat {_INSTANCE}/buffer_subbuf_size_kb"))
    run_steps(guest, f"echo 1 >{_INSTANCE}/tracing_on")
    return page_kb


def _take_pages(guest: Guest, page_kb: int, directory: Path) -> dict[str, str]:
    """The pages of each CPU; returns what the kernel says was lost."""
    run_steps(guest, f"echo 0 >{_INSTANCE}/tracing_on")
    stats = {}
    for number in range(guest.options.smp):
        cpu = f"{_INSTANCE}/per_cpu/cpu{number}"
        stats[f"cpu{number}"] = run_steps(guest, f"cat {cpu}/stats")
        guest.sh(f"timeout 5 dd if={cpu}/trace_pipe_raw of=/tmp/pages bs={page_kb}k 2>/dev/null")
        (directory / f"cpu{number}.raw").write_bytes(_file(guest, "/tmp/pages"))
    return stats


def _named(pages: bytes, kallsyms: list[str]) -> str:
    """The lines of kallsyms about what may be a frame in these pages, and the kernel's limits."""
    rows = sorted((int(row.split()[0], 16), row) for row in kallsyms if row.split()[1] in "tTwW")
    addresses = [address for address, _ in rows]
    kept = {row for row in kallsyms if row.split()[2] in ("_stext", "_end") or row.endswith("[walker]")}
    for at in range(0, len(pages) - 7, 4):
        value = int.from_bytes(pages[at : at + 8], "little")
        # the code of the kernel and of modules, and nothing else that a page holds
        if value >> 31 == 0x1FFFFFFFF and (place := bisect_right(addresses, value - 1)):
            kept.add(rows[place - 1][1])
    return "".join(f"{row}\n" for row in sorted(kept))


def _make(line: str) -> None:
    directory = _DATA / line
    directory.mkdir(parents=True, exist_ok=True)
    with Guest.boot(line, "walker", GuestOptions(smp=2)) as guest:
        load_walker(guest)
        steps = "mkdir -p /tmp/real && echo x >/tmp/real/file && ln -s /tmp/real /tmp/link"
        run_steps(guest, f"mount -t tracefs nodev {_TRACEFS}", steps)
        guest.stop()
        with open_kernel(detect_target(f"qemu:{guest.qmp_socket}")) as kernel:
            offsets = nameidata_offsets(kernel.prog)
            snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
        guest.cont()
        tried, events = _try_definitions(guest), _define(guest, offsets)
        page_kb = _start(guest, snapshot, events)
        made = walk(guest, *_orders())
        stats = _take_pages(guest, page_kb, directory)
        for name in events:
            text = _file(guest, f"{_INSTANCE}/events/fixture/{name}/format")
            (directory / f"{name}.format").write_bytes(text)
        (directory / "kernel_stack.format").write_bytes(
            _file(guest, f"{_TRACEFS}/events/ftrace/kernel_stack/format")
        )
        (directory / "header_page").write_bytes(_file(guest, f"{_TRACEFS}/events/header_page"))
        kallsyms = _file(guest, "/proc/kallsyms").decode().splitlines()
        (directory / "modules").write_bytes(_file(guest, "/proc/modules"))
    pages = b"".join(path.read_bytes() for path in sorted(directory.glob("cpu*.raw")))
    (directory / "kallsyms").write_text(_named(pages, kallsyms))
    account = [{**dataclasses.asdict(each), "path": each.path.hex()} for each in made]
    _write_json(directory / "account.json", account)
    pid1 = next(task for task in snapshot.tasks if task.pid == 1)
    root = snapshot.fs_by_address[pid1.fs or 0].root
    about = {
        "release": snapshot.kernel.release,
        "page_kb": page_kb,
        "events": events,
        "tried": tried,
        "stats": stats,
        "offsets": offsets._asdict(),
        "isolation_mount": snapshot.kernel.knullfs,
        "init_root_mount": root and root.mount,
        "kernel_pids": _kernel_pids(snapshot),
    }
    _write_json(directory / "about.json", about)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


def main() -> int:
    for line in sys.argv[1:] or _LINES:
        _make(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
