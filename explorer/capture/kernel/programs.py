"""The program that a process runs: ``mm->exe_file``, and the arguments that its own memory keeps.

Mirrors ``get_mm_exe_file()`` of kernel/fork.c and ``get_mm_cmdline()`` of fs/proc/base.c. What started a process may
have changed since, and what is said of the start may be a variable: this is what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import drgn

from explorer.capture.memory import Decoder, Memory, is_kernel_pointer, make_decoder, member_offset
from explorer.capture.paths import PathRefs
from explorer.model import KernelText, PathRef, Task, kernel_text, task_name

__all__ = ("ProgramLayout", "ProgramReader", "probe_programs")

_POINTER = 8
_MAX_BYTES = 4096
_MAX_ARGUMENTS = 64


@dataclass(frozen=True, slots=True)
class ProgramLayout:
    """What is read of a ``struct mm_struct`` and of the ``struct file`` that is executed."""

    task_mm: int
    mm: Decoder
    """exe_file, arg_start, arg_end"""
    file_path: Decoder
    """mnt, dentry"""


def probe_programs(prog: drgn.Program) -> ProgramLayout:
    """Probe the kernel's types. :raises LookupError: if they lack something"""
    return ProgramLayout(
        task_mm=member_offset(prog, "task_struct", "mm"),
        mm=make_decoder(prog, "mm_struct", "exe_file", "arg_start", "arg_end"),
        file_path=make_decoder(prog, "file", "f_path.mnt", "f_path.dentry"),
    )


class ProgramReader:
    """Reads programs of single tasks: each is asked for."""

    def __init__(self, memory: Memory, layout: ProgramLayout, paths: PathRefs, user_memory: bool) -> None:
        """:param user_memory: the processes' own memory may be read; not for a slice, which has none of it"""
        self._memory = memory
        self._layout = layout
        self._paths = paths
        self._user_memory = user_memory

    def read_program(self, task: Task) -> tuple[PathRef | None, list[KernelText] | None]:
        """Its executable and its arguments; ``None`` for what it has not, or what is not there."""
        reader, errors = self._memory.reader, self._memory.errors
        exe, arguments, label = None, None, task_name(task)
        with errors.guard_newer(label, "mm.exe_file"):
            mm = reader.read_u64(task.address + self._layout.task_mm)
            if not is_kernel_pointer(mm):
                return None, None  # before exec, or past its exit
            decoder = self._layout.mm
            file, start, end = reader.decode(decoder, mm)
            arguments = self._arguments(mm, start, end)
            if is_kernel_pointer(file):
                decoder = self._layout.file_path
                mnt, dentry = reader.decode(decoder, file)
                exe = self._paths.path_ref(f"{label} exe_file", mnt, dentry)
        return exe, arguments

    def _arguments(self, mm: int, start: int, end: int) -> list[KernelText] | None:
        """As /proc/PID/cmdline has them: each ends with a NUL."""
        from drgn.helpers.linux.mm import access_remote_vm

        size = min(end - start, _MAX_BYTES)
        if not self._user_memory or size <= 0:
            return None
        try:
            raw = access_remote_vm(drgn.Object(self._memory.prog, "struct mm_struct *", mm), start, size)
        except (drgn.FaultError, ValueError, LookupError):
            return (
                None  # documented: a filter leaves user memory out first, and what was swapped out is nowhere
            )
        words = raw.split(b"\0")[:_MAX_ARGUMENTS]
        return [kernel_text(word) for word in (words[:-1] if words[-1] == b"" else words)]
