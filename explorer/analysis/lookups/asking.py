"""Who asked for a lookup, and what the thread was running: by its stack, innermost frame first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from explorer.model import KernelText, Lookup, TraceFrame, hex_address

from .vfs import bare_name, is_trampoline, is_vfs

__all__ = ("Asker", "Runs", "asker_of", "find_function", "frame_label", "frames_of", "runs_of")

#: A kernel stack has 16 KiB: more frames than this are no stack.
_MOST_FRAMES = 1024


def function_label(function: KernelText, module: KernelText | None) -> KernelText:
    """``badfn [bad]``; of the kernel itself, ``badfn``."""
    return function if module is None else f"{function} [{module}]"


def frame_label(frame: TraceFrame) -> KernelText:
    """As :func:`function_label`, of a frame: an address where no symbol is near. Not escaped."""
    return function_label(
        hex_address(frame.address) if frame.function is None else frame.function, frame.module
    )


@dataclass(frozen=True, slots=True)
class Asker:
    """The first function of the stack outside the VFS. Text is not escaped."""

    function: KernelText
    """Without what the compiler put behind it; an address where no symbol is near."""
    module: KernelText | None
    """``None``: the kernel itself."""
    taint: str | None
    """The letters of the module's taint; empty: none. ``None``: it was not there when the trace began."""

    @property
    def label(self) -> KernelText:
        """``badfn [bad]``."""
        return function_label(self.function, self.module)


@dataclass(frozen=True, slots=True)
class Runs:
    """What a kernel thread was running."""

    work: KernelText | None
    """The work function, of a workqueue or of a ``kthread_worker``."""
    thread: KernelText | None
    """The thread function: ``worker_thread`` of a kworker."""
    module: KernelText | None
    """That of the work function, else of the thread function; ``None``: the kernel itself, or not known."""


def frames_of(lookup: Lookup) -> list[TraceFrame] | None:
    """The stack, bounded, without the tracer's own frames; ``None``: it was lost."""
    return (
        [frame for frame in lookup.stack[:_MOST_FRAMES] if not is_trampoline(frame)] if lookup.stack else None
    )


def asker_of(lookup: Lookup, taints: Mapping[str, str]) -> Asker | None:
    """Who asked; ``None`` where the stack is lost, or has nothing but the VFS.

    :param taints: the modules that were there when the trace began, and the taint of each
    """
    frame = next((frame for frame in frames_of(lookup) or () if not is_vfs(frame)), None)
    if frame is None:
        return None
    name = hex_address(frame.address) if frame.function is None else bare_name(frame.function)
    return Asker(name, frame.module, "" if frame.module is None else taints.get(frame.module))


def runs_of(lookup: Lookup) -> Runs | None:
    """What the thread was running; ``None`` where the stack is lost, or of no kernel thread.

    ``process_one_work()`` and ``kthread_worker_fn()`` call the work function, ``kthread()`` the thread function.
    """
    frames = frames_of(lookup) or ()
    work = thread = None
    for inner, outer in pairwise(frames):
        caller = None if outer.module is not None or outer.function is None else bare_name(outer.function)
        if caller in ("process_one_work", "kthread_worker_fn") and work is None:
            work = inner
        elif caller == "kthread" and thread is None:
            thread = inner
    if work is None and thread is None:
        return None
    known = thread if work is None else work
    return Runs(_function(work), _function(thread), None if known is None else known.module)


def find_function(lookup: Lookup, *names: str) -> TraceFrame | None:
    """The innermost frame of one of the kernel's own functions."""
    for frame in frames_of(lookup) or ():
        if frame.module is None and _function(frame) in names:
            return frame
    return None


def _function(frame: TraceFrame | None) -> KernelText | None:
    return None if frame is None or frame.function is None else bare_name(frame.function)
