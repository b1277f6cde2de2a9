"""Kernel stacks of tasks that borrow or walk a path. Needs DWARF: BTF has neither locals nor unwinding tables.

The frame that opened a borrow is known by the variable that ``scoped_with_init_fs()`` declares in it
(include/linux/fs_struct.h), whose type is ``class___override_init_fs_t``.
"""

from __future__ import annotations

from itertools import islice

import drgn

from explorer.capture.memory import AnyTask, Memory, is_kernel_pointer
from explorer.model import StackFrame
from explorer.targets import TargetError, drgn_errors

__all__ = ("StackReader", "relative_source")

_SCOPE_TYPE = "class___override_init_fs_t"
_MAX_FRAMES = 256
#: Every stack of a sleeping task begins in this file: what stands before it is where the kernel was built.
_ANCHOR = "kernel/sched/core.c"


class StackReader:
    """Unwinds stacks with drgn."""

    def __init__(self, memory: Memory) -> None:
        self._prog = memory.prog
        self._errors = memory.errors

    def read_stack(self, task: AnyTask) -> list[StackFrame] | None:
        """The kernel frames, innermost first; ``None``, with an error entry, if they cannot be unwound."""
        try:
            with drgn_errors("it cannot be unwound"):
                pointer = drgn.Object(self._prog, "struct task_struct *", task.address)
                frames = list(islice(self._prog.stack_trace(pointer), _MAX_FRAMES))
        except TargetError as error:
            self._errors.add(task.name, "stack", str(error))
            return None
        sources = [_source(frame) for frame in frames]
        prefix = _build_prefix([source[0] for source in sources if source])
        found: list[StackFrame] = []
        for frame, source in zip(frames, sources, strict=True):
            if not is_kernel_pointer(_program_counter(frame)):
                break  # the task's own code, from which it entered the kernel
            text = None if source is None else f"{relative_source(source[0], prefix)}:{source[1]}"
            found.append(
                StackFrame(
                    function=frame.name,
                    source=text,
                    inlined=frame.is_inline,
                    opens_scope=self._opens_scope(frame),
                )
            )
        return found

    def _opens_scope(self, frame: drgn.StackFrame) -> bool:
        try:
            with drgn_errors("its variables cannot be listed"):
                names = frame.locals()
        except TargetError:
            return False  # assembly, and other frames without debug info, declare no variables
        return any(_type_name(frame, name) == _SCOPE_TYPE for name in names)


def _type_name(frame: drgn.StackFrame, name: str) -> str | None:
    try:
        with drgn_errors("its type cannot be read"):
            type_ = frame[name].type_
            return type_.name if type_.kind is drgn.TypeKind.TYPEDEF else None
    except TargetError:
        return None  # a variable in a place that this drgn cannot describe; the others are looked at still


def _program_counter(frame: drgn.StackFrame) -> int:
    try:
        return int(frame.pc)
    except LookupError:
        return 0


def _source(frame: drgn.StackFrame) -> tuple[str, int] | None:
    try:
        source = frame.source()
    except LookupError:
        return None
    return source[0], source[1]


def _build_prefix(files: list[str]) -> str:
    """The directory the kernel was built in, with a slash; empty where files are named relative to it."""
    for file in files:
        if file.endswith(f"/{_ANCHOR}"):
            return file.removesuffix(_ANCHOR)
    return ""


def relative_source(file: str, prefix: str) -> str:
    """A source file relative to the top of the kernel's tree."""
    return file.removeprefix(prefix).removeprefix("./")
