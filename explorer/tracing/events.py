"""The dynamic events by which lookups are seen: which there are depends on the kernel, and the kernel is asked.

Mirrors Documentation/trace/fprobetrace.rst and kprobetrace.rst. Each lookup is four events: its walk, with the kernel
stack behind it, its path, and its end. The walk is seen where ``path_init()`` returns, with ``nd`` as it left that
(fprobe events with BTF arguments; an argument can be had at the return from 6.9 on); on older kernels where
``terminate_walk()`` ends it, by a kprobe that is told the offsets in ``struct nameidata``. The end is the return of one
of the three functions that call both, and where the compiler made one of them part of its caller, of that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from explorer.capture import NameidataOffsets, WorkOffsets
from explorer.model import LookupSource
from explorer.targets import TargetError

from .instances import open_control

__all__ = (
    "END_EVENTS",
    "PATH_EVENT",
    "WALK_EVENT",
    "WORK_EVENT",
    "DefinedEvents",
    "define_events",
    "define_with",
    "result_of",
)

WALK_EVENT = "walk"
#: The path is an event of its own, as one that does not fit is lost without a word, and with a path of 4,095 bytes none
#: fits a page of 4,096; 6.12 takes no longer one even where its pages are. The walk has the beginning of it.
PATH_EVENT = "path"
_HEAD_WORDS = 32
#: Returns that a probe waits for at once, of tasks that sleep in the function: those of lookups that hang are among
#: them. By itself a kernel before 6.14 waits for two a CPU, and is silent about the others.
RETURNS = 256
#: The events that end a lookup: whose return they are, by preference.
_ENDS = {
    "look": ("path_lookupat",),
    "open": ("path_openat",),
    "parent": ("path_parentat", "__filename_parentat", "filename_parentat"),
}
END_EVENTS = tuple(_ENDS)
_FPROBE_WALK = (
    f"path_init%return head=+0(nd->name->name):x64[{_HEAD_WORDS}] start=nd->path.mnt:u64 root=nd->root.mnt:u64 "
    "flags=nd->flags:u32 nd=nd:u64 comm=$comm"
)
_FPROBE_PATH = "path_init%return path=nd->name->name:string nd=nd:u64"
#: A worker takes a work: never in the buffer, see :mod:`.workqueues`.
WORK_EVENT = "work"
_FPROBE_WORK = "process_one_work func=work->func:u64 data=work->data.counter:u64"
Take = Callable[[str], bool]
_HINTS = {
    1: "kernel lockdown, or a container: see doctor",
    13: "root is needed",
    16: "its event group is in use",
    30: "tracefs is mounted read-only",
}


@dataclass(slots=True)
class DefinedEvents:
    """What was defined."""

    source: LookupSource
    names: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    has_works: bool = False
    """Whether :data:`WORK_EVENT` is there, too."""


def define_events(tracefs: Path, group: str, at: NameidataOffsets, work: WorkOffsets) -> DefinedEvents:
    """Define them, in a group of their own.

    :param at: for a kernel that has no fprobe events that could do it
    :param work: the same, of a work
    :raises TargetError: if the walk of a lookup cannot be seen at all
    """
    path = tracefs / "dynamic_events"
    try:
        descriptor = open_control(path)
    except OSError as error:
        raise TargetError(f"{path}: {error.strerror}{_hint(error)}") from error
    try:
        return define_with(lambda definition: _add(descriptor, definition), group, at, work)
    finally:
        os.close(descriptor)


def _hint(error: OSError) -> str:
    hint = _HINTS.get(error.errno or 0)
    return f" ({hint})" if hint else ""


def define_with(
    take: Take, group: str, at: NameidataOffsets, work: WorkOffsets | None = None
) -> DefinedEvents:
    """As :func:`define_events`. :param take: gives a definition to the kernel; says whether that took it"""
    if any(_add_walk(take, group, probe, _FPROBE_WALK, _FPROBE_PATH) for probe in _fprobes()):
        source: LookupSource = "fprobe"
    else:
        path = f"+0(+{at.filename_name}(+{at.name}(%di)))"
        walk = (
            f"terminate_walk head={path}:x64[{_HEAD_WORDS}] root=+{at.root_mnt}(%di):u64 "
            f"flags=+{at.flags}(%di):u32 nd=%di:u64 comm=$comm"
        )
        if not _add_walk(take, group, "p", walk, f"terminate_walk path={path}:string nd=%di:u64"):
            raise TargetError("this kernel has neither fprobe nor kprobe events for path lookups: see doctor")
        source = "kprobe"
    defined = DefinedEvents(source, [WALK_EVENT, PATH_EVENT])
    for name, functions in _ENDS.items():
        if any(_add_end(take, defined.source, f"{group}/{name}", function) for function in functions):
            defined.names.append(name)
        else:
            defined.problems.append(f"results of {functions[0]}() cannot be seen on this kernel")
    if work is not None:
        by_offset = f"process_one_work func=+{work.func}(%si):u64 data=+{work.data}(%si):u64"
        tried = (("f", _FPROBE_WORK), ("p", by_offset)) if source == "fprobe" else (("p", by_offset),)
        defined.has_works = any(take(f"{probe}:{group}/{WORK_EVENT} {what}") for probe, what in tried)
    return defined


def _fprobes() -> tuple[str, str]:
    """With the number of returns, where the kernel takes one."""
    return f"f{RETURNS}", "f"


def _add_walk(take: Take, group: str, probe: str, walk: str, path: str) -> bool:
    """Both or neither."""
    if not take(f"{probe}:{group}/{WALK_EVENT} {walk}"):
        return False
    if take(f"{probe}:{group}/{PATH_EVENT} {path}"):
        return True
    take(f"-:{group}/{WALK_EVENT}")
    return False


def _add_end(take: Take, source: LookupSource, name: str, function: str) -> bool:
    if source == "kprobe":
        # At the return, the function's frame is gone: nd lies above it, in the caller's.
        return take(f"r{RETURNS}:{name} {function} result=$retval:u64 stack=$stack:u64")
    return any(
        take(f"{probe}:{name} {function}%return result=$retval:u64{nd}")
        for nd in (" nd=nd:u64", "")
        for probe in _fprobes()
    )


def _add(descriptor: int, definition: str) -> bool:
    """Whether the kernel took it. :raises TargetError: if it takes none"""
    try:
        os.write(descriptor, definition.encode() + b"\n")
    except OSError as error:
        if error.errno in _HINTS:
            raise TargetError(
                f"the kernel takes no tracing events: {error.strerror}{_hint(error)}"
            ) from error
        return False
    return True


def result_of(value: int, name: str) -> int:
    """0 or minus an errno, of what the function of an end returned: ``path_openat()`` a pointer, others an ``int``."""
    if name == "open":
        return value - (1 << 64) if value >= (1 << 64) - 4095 else 0
    low = value & 0xFFFFFFFF
    return low - (1 << 32) if low >= 1 << 31 else low
