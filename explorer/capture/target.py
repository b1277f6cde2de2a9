"""Capture what somebody names or has open: what the commands and the library call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from typing import TYPE_CHECKING

import drgn

from explorer.model import CaptureError, Snapshot
from explorer.targets import CrashGuard, OpenKernel, TargetError, detect_target, open_kernel
from explorer.targets.symbols import BtfError

from .request import CaptureProgress, CaptureRequest, CaptureStats
from .snapshot import capture_snapshot

if TYPE_CHECKING:
    from explorer.plugin import LoadedPlugins

__all__ = ("capture_errors", "capture_kernel", "capture_target", "capture_tasks")


@contextmanager
def capture_errors(kernel: OpenKernel) -> Iterator[None]:
    """What the kernel's types lack, or where they are damaged, as one line. :raises TargetError: for that"""
    try:
        yield
    except LookupError as error:
        raise TargetError(f"{kernel.source.target}: cannot be captured: {error.args[0]}") from error
    except AttributeError as error:
        if not isinstance(error.obj, drgn.Object):
            raise
        raise TargetError(f"{kernel.source.target}: cannot be captured: {error}") from error
    except BtfError as error:
        raise TargetError(
            f"{kernel.source.target}: its BTF is damaged ({error}): give a vmlinux with -s"
        ) from error


def capture_kernel(
    kernel: OpenKernel,
    plugins: LoadedPlugins,
    progress: CaptureProgress | None = None,
    stats: CaptureStats | None = None,
    guard: CrashGuard | None = None,
    holders_of: Callable[[Snapshot], Collection[int]] | None = None,
) -> Snapshot:
    """Capture an open kernel, with what plugins collect. A plugin that could not be loaded is an error of the snapshot.

    :raises TargetError: if its types lack what a capture needs
    """
    with capture_errors(kernel):
        request = CaptureRequest.from_kernel(kernel, plugins.plugins, guard)
        if holders_of is not None:
            request = dataclasses.replace(request, holders_of=holders_of)
        snapshot = capture_snapshot(request, progress, stats)
    for broken in plugins.errors:
        snapshot.errors.append(CaptureError(where=f"plugin {broken.name}", what="load", why=broken.why))
        if stats is not None:
            stats.tracebacks.append(broken.traceback)
    return snapshot


def capture_tasks(
    kernel: OpenKernel,
    progress: CaptureProgress | None = None,
    stats: CaptureStats | None = None,
    guard: CrashGuard | None = None,
) -> Snapshot:
    """Capture the tasks of an open kernel, their fs_structs, and the mounts these lie on: for who shows nothing else.

    :raises TargetError: if its types lack what a capture needs
    """
    with capture_errors(kernel):
        request = dataclasses.replace(CaptureRequest.from_kernel(kernel, guard=guard), only_tasks=True)
        return capture_snapshot(request, progress, stats)


def capture_target(
    target: str | PathLike[str] | OpenKernel | drgn.Program, *, plugins: bool = True
) -> Snapshot:
    """Capture a kernel: one that is open, or one that is named as on the command line.

    What could not be read is ``None`` in the snapshot, with an entry in its ``errors``.

    :param target: a name (``live``, ``sample``, a file, ...), what ``open_target()`` gave, or a program of drgn's
    :param plugins: let the plugins that are installed collect, too

    :raises TargetError: if it cannot be opened or captured; the message is one line
    """
    from explorer.plugin import LoadedPlugins, PluginSet

    loaded = PluginSet().loaded if plugins else LoadedPlugins()
    if isinstance(target, drgn.Program):
        from explorer.targets import adopt_program

        return capture_kernel(adopt_program(target), loaded)
    if isinstance(target, OpenKernel):
        return capture_kernel(target, loaded)
    spec = detect_target(fspath(target))
    if spec.kind == "proc":
        from explorer.procfs import capture_proc

        return capture_proc()
    with open_kernel(spec) as kernel:
        return capture_kernel(kernel, loaded)
