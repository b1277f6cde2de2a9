"""The capture of an open kernel against its limit and against the usual way, in microseconds a task."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

import drgn
from drgn.helpers.linux.fs import d_path
from drgn.helpers.linux.pid import for_each_task

from bench.report import Row
from bench.straightforward import lines
from bench.timing import medians
from explorer.capture import CaptureRequest, capture_snapshot
from explorer.capture.memory import probe_layout
from explorer.model import Snapshot
from explorer.targets import OpenKernel, detect_target, open_kernel

__all__ = ("KDUMP", "QMP", "measure_dump", "measure_frame", "measure_growth", "measure_kdump", "measure_qmp")

#: Behind the name of a guest: how it was read.
QMP, KDUMP = ", over QMP", ", kdump-compressed"

#: The loops take minutes over QMP; each of their tasks costs the same.
_LOOP_LIMIT = 20_100


class _Floor:
    """What any capture must read: the used span of each task_struct, and each fs_struct, once, and nothing else."""

    def __init__(self, prog: drgn.Program, snapshot: Snapshot) -> None:
        layout = probe_layout(prog)
        self._read = prog.read
        self._task_span, self._fs_span = layout.task.span, layout.fs_struct.span
        self._tasks = [task.address + layout.task.base for task in snapshot.tasks]
        self._fs_structs = [fs.address + layout.fs_struct.base for fs in snapshot.fs_structs]

    def __call__(self) -> None:
        read, span = self._read, self._task_span
        for address in self._tasks:
            read(address, span)
        span = self._fs_span
        for address in self._fs_structs:
            read(address, span)


def _short_loop(prog: drgn.Program) -> None:
    """The least that answers the question: ten values a task, two of them paths."""
    has_real_fs = prog.type("struct task_struct").has_member("real_fs")
    for task in islice(for_each_task(prog), _LOOP_LIMIT):
        fs = task.fs
        if not fs:
            continue
        _ = (task.pid.value_(), task.comm.string_(), task.flags.value_(), fs.value_())
        _ = (task.real_fs.value_() if has_real_fs else None, fs.users.value_(), fs.umask.value_())
        _ = (fs.root.mnt.mnt_sb.s_type.name.string_(), d_path(fs.root), d_path(fs.pwd))


def _full_loop(prog: drgn.Program) -> None:
    with Path(os.devnull).open("w") as out:
        for line in islice(lines(prog), _LOOP_LIMIT):
            out.write(line + "\n")


@contextmanager
def _opened(target: str) -> Iterator[OpenKernel]:
    with open_kernel(detect_target(target)) as kernel:
        yield kernel


def _measure(kernel: OpenKernel, name: str, rounds: int, *, loops: bool) -> list[Row]:
    request = CaptureRequest.from_kernel(kernel)
    snapshot = capture_snapshot(request)
    tasks = len(snapshot.tasks)
    counted = min(tasks, _LOOP_LIMIT)
    floor = _Floor(kernel.prog, snapshot)
    del snapshot

    def capture() -> None:
        capture_snapshot(request)

    measured: dict[str, Callable[[], None]] = {"capture": capture, "raw reads alone": floor}
    if loops:
        measured["straightforward, same fields"] = lambda: _full_loop(kernel.prog)
        measured["straightforward, ten fields"] = lambda: _short_loop(kernel.prog)
    took = medians(rounds, measured)
    return [
        Row(
            f"{what}: {name}",
            seconds / (counted if "straight" in what else tasks) * 1e6,
            "µs/task",
            tasks=tasks,
        )
        for what, seconds in took.items()
    ]


def measure_growth(dumps: Mapping[str, Path], rounds: int) -> list[Row]:
    """The capture of each of several dumps, in turns, so that they can be compared. :param dumps: by name"""
    with ExitStack() as opened:
        tasks: dict[str, int] = {}
        measured: dict[str, Callable[[], None]] = {}
        for name, path in dumps.items():
            request = CaptureRequest.from_kernel(opened.enter_context(open_kernel(detect_target(str(path)))))
            tasks[name] = len(capture_snapshot(request).tasks)
            measured[name] = partial(_capture_once, request)
        took = medians(rounds, measured)
    return [
        Row(f"growth: {name}", took[name] / tasks[name] * 1e6, "µs/task", tasks=tasks[name]) for name in dumps
    ]


def _capture_once(request: CaptureRequest) -> None:
    capture_snapshot(request)


def measure_dump(path: Path, name: str, rounds: int, *, loops: bool = False) -> list[Row]:
    """From an ELF dump. :param loops: measure the straightforward loops too, which take their time"""
    with _opened(str(path)) as kernel:
        return _measure(kernel, name, rounds, loops=loops)


def measure_kdump(path: Path, name: str, rounds: int) -> list[Row]:
    """From a kdump-compressed dump (zlib), by way of libkdumpfile."""
    with _opened(str(path)) as kernel:
        return _measure(kernel, f"{name}{KDUMP}", rounds, loops=False)


def measure_qmp(socket: Path, name: str, rounds: int) -> list[Row]:
    """From a guest that is stopped, over QMP."""
    with _opened(f"qemu:{socket}") as kernel:
        return _measure(kernel, f"{name}{QMP}", rounds, loops=False)


def measure_frame(socket: Path, rounds: int) -> list[Row]:
    """One frame of a recording: nothing of the last one is used but the types, and where symbols are."""
    with _opened(f"qemu:{socket}") as kernel:
        request = CaptureRequest.from_kernel(kernel)
        tasks = len(capture_snapshot(request).tasks)

        def frame() -> None:
            kernel.types.refresh()
            capture_snapshot(request)

        took = medians(rounds * 4, {"frame": frame})
    return [Row("recorder frame: idle guest, over QMP", took["frame"] * 1e3, "ms", tasks=tasks)]
