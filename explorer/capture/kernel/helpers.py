"""User mode helpers: programs the kernel has started, or is about to start.

Mirrors kernel/umh.c: a kworker runs ``call_usermodehelper_exec_work()`` and, for ``UMH_WAIT_PROC``, stays in it until
the helper has exited; its work item is the ``work`` of the ``struct subprocess_info``. Without that wait, only the
helper itself is left, a child of kthreadd.

For modprobe and the uevent helper, ``path`` and ``argv[0]`` point *at* the setting: see :mod:`.programs` for what runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import is_

import drgn

from explorer.capture.memory import (
    Decoder,
    Memory,
    is_kernel_pointer,
    make_decoder,
    member_offset,
)
from explorer.model import Task, TaskFlag, TaskKind, UserModeHelper, fields_of, kernel_text, made

from .programs import ProgramReader
from .workqueues import BusyWorker

__all__ = ("HelperLayout", "HelperReader", "probe_helpers")

_MAX_ARGUMENTS = 64
_MAX_TEXT = 4096
_POINTER = 8
#: Variables that a ``subprocess_info`` points at, instead of at a copy.
_SETTINGS = ("modprobe_path", "uevent_helper")
_helper = made(UserModeHelper)


@dataclass(frozen=True, slots=True)
class HelperLayout:
    """What is read of a ``struct subprocess_info``."""

    info: Decoder
    """path, argv"""
    work: int


def probe_helpers(prog: drgn.Program) -> HelperLayout:
    """Probe the kernel's types. :raises LookupError: if they lack something"""
    return HelperLayout(
        info=make_decoder(prog, "subprocess_info", "path", "argv"),
        work=member_offset(prog, "subprocess_info", "work"),
    )


class HelperReader:
    """Finds the helpers in flight."""

    def __init__(self, memory: Memory, layout: HelperLayout, programs: ProgramReader | None) -> None:
        self._reader = memory.reader
        self._layout = layout
        self._errors = memory.errors
        self._programs = programs
        self._settings = {memory.symbols.symbol_address(name): name for name in _SETTINGS}
        self._exec_work = memory.symbols.symbol_address("call_usermodehelper_exec_work")

    def read_helpers(
        self, busy: Sequence[BusyWorker], tasks: Sequence[Task], parent_of: Callable[[int], int]
    ) -> list[UserModeHelper]:
        """Those a kworker waits for, by its address, then those that only left a process.

        :param parent_of: task -> ``real_parent``
        """
        [kinds] = fields_of(tasks, "kind")
        processes = list(compress(tasks, map(is_, kinds, repeat(TaskKind.USERMODEHELPER))))
        found: list[UserModeHelper] = []
        claimed: set[int] = set()
        for worker in sorted(busy, key=lambda worker: worker.task):
            if not worker.func or worker.func != self._exec_work:
                continue
            process = next((task for task in processes if parent_of(task.address) == worker.task), None)
            if process is not None:
                claimed.add(process.address)
            found.append(self._read(worker, process))
        found += [
            UserModeHelper(
                address=None,
                path=None,
                argv=[],
                waiting_worker=None,
                process=task.address,
                before_exec=_before_exec(task),
            )
            for task in processes
            if task.address not in claimed
        ]
        by_address = {task.address: task for task in processes}
        for helper in found:
            self._add_program(helper, by_address.get(helper.process or 0))
        return found

    def _add_program(self, helper: UserModeHelper, process: Task | None) -> None:
        if process is not None and self._programs is not None:
            helper.exe, helper.arguments = self._programs.read_program(process)

    def _read(self, worker: BusyWorker, process: Task | None) -> UserModeHelper:
        address = worker.work - self._layout.work
        where = f"subprocess_info 0x{address:x}"
        path: str | None = None
        setting: str | None = None
        argv: list[str] = []
        with self._errors.guard(where, "path and argv"):
            decoder = self._layout.info
            path_pointer, argv_pointer = self._reader.decode(decoder, address)
            setting = self._settings.get(path_pointer)
            path = self._text(path_pointer)
            for index in range(_MAX_ARGUMENTS):
                argument = self._reader.read_u64(argv_pointer + _POINTER * index)
                if not is_kernel_pointer(argument):
                    break
                argv.append(self._text(argument))
        return _helper(
            address=address,
            path=path,
            argv=argv,
            setting=setting,
            waiting_worker=worker.task,
            process=None if process is None else process.address,
            before_exec=_before_exec(process),
        )

    def _text(self, address: int) -> str:
        return kernel_text(self._reader.read_c_string(address, _MAX_TEXT))


def _before_exec(process: Task | None) -> bool | None:
    """Whether it runs no program yet; ``None`` if its flags are not there."""
    if process is None:
        return False
    return None if process.flags is None else process.has_flag(TaskFlag.FORKNOEXEC)
