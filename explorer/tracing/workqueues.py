"""Which workqueue a worker runs a function from.

No argument of a lookup leads to its task or its workqueue. So the kernel is asked to keep a table, in its own memory,
of the functions that each of its workers takes and of what their works are queued on: a histogram of an event at
``process_one_work()`` (Documentation/trace/histogram.rst), which writes nothing into the ring buffer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from explorer.model import KernelText

from .instances import read_anew, write_control

__all__ = ("WorkTable", "Workqueues")

#: Works of one function differ by their worker, by the pool_workqueue (of a CPU, a node or all) and by the flags beside
#: its address.
_SIZE = 16_384
_MAX_BYTES = 8 << 20
#: By the worker's pid and the address of a function: ``work_struct.data`` of those of its works that have run.
Works = dict[tuple[int, int], set[int]]
_ENTRY = re.compile(rb"^\{ func: +(\d+), data: +(\d+), common_pid: +(\d+) \}", re.MULTILINE)
_DROPPED = re.compile(rb"^ +Dropped: (\d+)$", re.MULTILINE)


class WorkTable:
    """The histogram of an event that has the fields ``func`` and ``data``.

    :param event: its directory in the tracing instance
    :raises OSError: if the kernel keeps no such table (CONFIG_HIST_TRIGGERS)
    """

    def __init__(self, event: Path) -> None:
        write_control(event / "trigger", f"hist:keys=func,data,common_pid:size={_SIZE}")
        self._descriptor = os.open(event / "hist", os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> Works:
        """What has run; nothing at all where the table is full, as it tells only some of it then."""
        return parse_table(read_anew(self._descriptor, _MAX_BYTES))

    def close(self) -> None:
        os.close(self._descriptor)


def parse_table(text: bytes) -> Works:
    """As :meth:`WorkTable.read`, of what the kernel prints."""
    dropped = _DROPPED.search(text)
    if dropped is None or int(dropped[1]):
        return {}
    found: Works = {}
    for func, data, pid in _ENTRY.findall(text):
        found.setdefault((int(pid), int(func)), set()).add(int(data))
    return found


class Workqueues:
    """Names of workqueues by the worker, and the function of a work.

    :param read: the table as it is now
    :param name: of a workqueue, by ``work_struct.data``
    """

    def __init__(self, read: Callable[[], Works], name: Callable[[int], KernelText | None]) -> None:
        self._read = read
        self._name = name
        self._table: Works | None = None
        self._known: dict[tuple[int, int], KernelText | None] = {}

    def look(self) -> None:
        """Before works are named that have come: the table is read again when it is asked for."""
        self._table = None
        self._known.clear()

    def of(self, pid: int, function: int) -> KernelText | None:
        """The workqueue from which a worker runs a function; ``None``: none, several, or it cannot be told."""
        if (pid, function) not in self._known:
            if self._table is None:
                self._table = self._read()
            names = {self._name(data) for data in self._table.get((pid, function), ())}
            self._known[pid, function] = names.pop() if len(names) == 1 else None
        return self._known[pid, function]
