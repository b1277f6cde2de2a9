"""The pid of a task in its own pid namespace.

Mirrors ``task_pid_vnr()`` of kernel/pid.c: a ``struct pid`` has a number for every namespace from the initial one down
to its own. Where a task's children go cannot be above where it is itself (``pidns_install()`` of
kernel/pid_namespace.c): whose children go to the initial namespace is in that, and its ``struct pid`` need not be read.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.capture.memory import AnyTask, Decoder, Memory, ReadError, make_decoder, member_offset

__all__ = ("PidNumberReader",)

_MAX_LEVEL = 32  # MAX_PID_NS_LEVEL
_WHAT = "pid in its namespace"


class _Layout(NamedTuple):
    nsproxy_children: int
    task_thread_pid: int
    pid_level: int
    pid_numbers: int
    upid: Decoder
    """nr"""
    upid_size: int


def _probe(prog: drgn.Program) -> _Layout:
    return _Layout(
        nsproxy_children=member_offset(prog, "nsproxy", "pid_ns_for_children"),
        task_thread_pid=member_offset(prog, "task_struct", "thread_pid"),
        pid_level=member_offset(prog, "pid", "level"),
        pid_numbers=member_offset(prog, "pid", "numbers"),
        upid=make_decoder(prog, "upid", "nr"),
        upid_size=drgn.sizeof(prog.type("struct upid")),
    )


class PidNumberReader:
    """Reads them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._layout = memory.probe("pid numbers", _probe)
        self._init_pid_ns = memory.symbols.symbol_address("init_pid_ns")
        self._others: set[int] = set()
        self.initial: set[int | None] = set()
        """Of whose tasks the children go to the initial namespace, by address of the ``nsproxy``."""

    def read_number(self, task: AnyTask) -> int | None:
        """``None`` in the initial namespace, and without a pid; also where it cannot be read, with an error entry."""
        layout = self._layout
        if layout is None or not task.thread_pid or self._is_in_initial(layout, task.nsproxy or 0):
            return None
        with self._memory.errors.guard_newer(task.name, _WHAT):
            try:
                return self._read(layout, task.thread_pid, task.pid)
            except ReadError:
                if self._memory.live and self._has_ended(layout, task):
                    return None
                raise
        return None

    def _is_in_initial(self, layout: _Layout, nsproxy: int) -> bool:
        """Whether a task must be in it; if that cannot be read, its own pid tells."""
        if not nsproxy or nsproxy in self._others:
            return False
        if nsproxy not in self.initial:
            try:
                initial = self._reader.read_u64(nsproxy + layout.nsproxy_children) == self._init_pid_ns
            except ReadError:
                initial = False
            if not initial:
                self._others.add(nsproxy)
                return False
            self.initial.add(nsproxy)
        return True

    def _read(self, layout: _Layout, pid: int, number: int | None) -> int | None:
        level = self._reader.read_u32(pid + layout.pid_level)
        if level > _MAX_LEVEL:
            raise ReadError(f"struct pid 0x{pid:x} is {level} namespaces deep")
        numbers = pid + layout.pid_numbers
        [first] = self._reader.decode(layout.upid, numbers)
        if first != number:
            raise ReadError(f"struct pid 0x{pid:x} is that of {first}")
        if not level:
            return None
        [own] = self._reader.decode(layout.upid, numbers + level * layout.upid_size)
        return int(own)

    def _has_ended(self, layout: _Layout, task: AnyTask) -> bool:
        try:
            return self._reader.read_u64(task.address + layout.task_thread_pid) != task.thread_pid
        except ReadError:
            return True  # the task itself is gone
