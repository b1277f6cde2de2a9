"""What kernel threads run: ``struct kthread`` and, for workers of a workqueue, ``struct worker``.

Mirrors kernel/kthread.c (``to_kthread()``) and kernel/workqueue.c (``print_worker_info()``). What serves a
``struct kthread_worker`` is in :mod:`.kthread_workers`.
"""

from __future__ import annotations

from typing import NamedTuple

from explorer.capture.memory import AnyTask, Memory, RawKthread, RawWorker, ReadError, function_name
from explorer.model import Kthread, TaskKind, kernel_text

from .clocks import JiffiesClock
from .kthread_workers import KthreadWorkerReader

__all__ = ("KthreadReader",)

_MAX_NAME = 256
_NUMA_NO_NODE = 0xFFFFFFFF


class KthreadInfo(NamedTuple):
    """A kernel thread's kind, which only its thread function tells, and what it runs."""

    kind: TaskKind | None
    """``None`` if the thread function is not there."""
    kthread: Kthread | None


class KthreadReader:
    """Reads kthreads of one kernel. Functions and workqueue names are looked up once each."""

    def __init__(self, memory: Memory, jiffies: JiffiesClock) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._layout = memory.layout
        self._symbols = memory.symbols
        self._errors = memory.errors
        self._jiffies = jiffies
        self._workers = KthreadWorkerReader(memory)
        self._worker_thread = memory.symbols.symbol_address("worker_thread")
        self._rescuer_thread = memory.symbols.symbol_address("rescuer_thread")
        self._functions: dict[int, str | None] = {}
        self._workqueues: dict[int, str] = {}

    def read_kthread(self, task: AnyTask) -> KthreadInfo | None:
        """What a ``PF_KTHREAD`` task is; ``None`` if it has no ``struct kthread``."""
        if not task.worker_private:
            return None  # the idle task of a CPU on old kernels has no struct kthread
        try:
            _, threadfn, private, full_name, node = self._memory.read_structure(
                self._layout.kthread, RawKthread, task.worker_private, lambda _: task.name
            )
        except ReadError as error:
            self._errors.add(task.name, "kthread", str(error))
            return KthreadInfo(None, None)
        values: dict[str, str | float | None] = dict.fromkeys(Kthread.model_fields)
        values["numa_node"] = None if node == _NUMA_NO_NODE else node
        values["threadfn"] = self.function(threadfn or 0)
        values["module"] = self._module(threadfn or 0)
        if full_name:
            with self._errors.guard(task.name, "kthread.full_name"):
                values["full_name"] = kernel_text(self._reader.read_c_string(full_name, _MAX_NAME))
        kind = None if threadfn is None else self._kind(threadfn)
        if kind in (TaskKind.KWORKER, TaskKind.RESCUER) and private:
            with self._errors.guard(task.name, "worker"):
                self._read_worker(task, private, kind, values)
        elif threadfn and threadfn == self._workers.threadfn and private:
            self._read_kthread_worker(task, private, values)
        return KthreadInfo(kind, Kthread.build(values))

    def _kind(self, threadfn: int) -> TaskKind:
        # threadfn is NULL for kthreadd: it must not equal a symbol that is missing.
        if threadfn and threadfn == self._worker_thread:
            return TaskKind.KWORKER
        if threadfn and threadfn == self._rescuer_thread:
            return TaskKind.RESCUER
        return TaskKind.KTHREAD

    def _read_worker(
        self, task: AnyTask, worker: int, kind: TaskKind, values: dict[str, str | float | None]
    ) -> None:
        _, current_func, current_pwq, last_func, desc, rescue_wq, start = self._memory.read_structure(
            self._layout.worker, RawWorker, worker, lambda _: task.name
        )
        values["current_func"] = self.function(current_func or 0)
        values["last_func"] = self.function(last_func or 0)
        if current_func is None:
            values["module"] = None  # of what it runs, if it runs anything
        elif current_func:
            values["module"] = self._module(current_func)
            values["running_s"] = self._jiffies.seconds_since(start)
        values["desc"] = None if desc is None else kernel_text(desc.split(b"\0", 1)[0]) or None
        if current_pwq:
            wq = self._reader.read_u64(current_pwq + self._layout.pwq_wq)
            values["workqueue"] = self._workqueue(wq)
        elif current_pwq is not None and kind is TaskKind.RESCUER and rescue_wq:
            values["workqueue"] = self._workqueue(rescue_wq)

    def _read_kthread_worker(self, task: AnyTask, worker: int, values: dict[str, str | float | None]) -> None:
        found = self._workers.read_worker(task, worker)
        if found is None:
            return
        values["current_func"] = self.function(found.current_func or 0)
        if found.current_func is None:
            values["module"] = None  # of what it runs, if it runs anything
        elif found.current_func:
            values["module"] = self._module(found.current_func)
        values["waiting_works"], values["delayed_works"] = found.waiting, found.delayed

    def _module(self, function: int) -> str | None:
        found = self._symbols.symbol_at(function) if function else None
        return None if found is None else found[2]

    def function(self, address: int) -> str | None:
        """A function by name, looked up once; ``None`` for NULL."""
        if address not in self._functions:
            self._functions[address] = function_name(self._symbols, address)
        return self._functions[address]

    def _workqueue(self, address: int) -> str:
        if address not in self._workqueues:
            name = self._layout.workqueue_name
            self._workqueues[address] = kernel_text(
                self._reader.read_c_string(address + name.offset, _MAX_NAME)
            )
        return self._workqueues[address]
