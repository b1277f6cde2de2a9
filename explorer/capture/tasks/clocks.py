"""The kernel's clocks at the time of the capture: the scheduler's, and jiffies.

Mirrors ``update_rq_clock()`` of kernel/sched/core.c and ``update_se()`` of kernel/sched/fair.c: every scheduling class
stores the runqueue's ``clock_task`` in ``se.exec_start`` whenever it accounts the running task, last of all when the
task leaves the CPU.
"""

from __future__ import annotations

from typing import NamedTuple

import drgn

from explorer.capture.memory import AnyTask, Decoder, Memory, ReadError, make_decoder, probed

__all__ = ("JiffiesClock", "SchedulerClocks", "in_seconds")

_NTP_SCALE_SHIFT = 32  # include/linux/timex.h
_MAX_HZ = 10_000
_U64 = (1 << 64) - 1


class _Clock(NamedTuple):
    """The clock that ``exec_start`` is a time of, in nanoseconds, now; and the task that is on the CPU."""

    now: int
    curr: int


def _rq_decoder(prog: drgn.Program) -> Decoder:
    return make_decoder(prog, "rq", "clock", "clock_task", "curr")


class SchedulerClocks:
    """``rq.clock`` of every CPU.

    An idle CPU's clock stands still, so that the latest one of all CPUs is taken for now; they count from one start.
    Where one could not be read, that may have been the latest: then nobody knows what now is.

    :param runqueues: CPU -> address of its ``struct rq``
    """

    def __init__(self, memory: Memory, runqueues: dict[int, int]) -> None:
        self._clocks: dict[int | None, _Clock] = {}
        self.now_of: dict[int | None, int] = {}
        """By CPU: the clock that ``exec_start`` is a time of, in nanoseconds, now."""
        self._now = 0
        try:
            decoder = probed(memory.prog, "runqueues", _rq_decoder)
        except LookupError as error:
            memory.errors.add("scheduler", "clocks", str(error))
            return
        read: dict[int, tuple[int, int, int]] = {}
        for cpu, address in runqueues.items():
            with memory.errors.guard(f"CPU {cpu}", "rq.clock"):
                clock, clock_task, curr = memory.reader.decode(decoder, address)
                read[cpu] = clock, clock_task, curr
                self._now = max(self._now, clock)
        if len(read) < len(runqueues):
            return
        for cpu, (clock, clock_task, curr) in read.items():
            # The same distance from the latest: clock_task has neither interrupts nor stolen time.
            self.now_of[cpu] = clock_task + (self._now - clock)
            self._clocks[cpu] = _Clock(self.now_of[cpu], curr)

    def waiting_s(self, task: AnyTask) -> float | None:
        """Seconds since the task last ran; ``None`` while it is on a CPU, and where that is not known."""
        own = self._clocks.get(task.cpu)
        if own is None or task.on_cpu or (task.on_cpu is None and own.curr == task.address):
            return None
        started = task.exec_start
        if started:
            waiting = own.now - started
        elif task.last_arrival:  # it moved to another CPU and has not run there: when it last began to run
            waiting = self._now - task.last_arrival
        else:
            return None
        return in_seconds(waiting)


def in_seconds(waiting: int) -> float:
    """Nanoseconds, to the millisecond; a time that has not come yet is none.

    Of a hundred thousand tasks, ``round()`` would take longer than all the rest of this.
    """
    return (waiting + 500_000) // 1_000_000 / 1000 if waiting > 0 else 0.0


class JiffiesClock:
    """``jiffies`` now, and how many make a second (``HZ`` is in no variable: a tick's length is)."""

    def __init__(self, memory: Memory) -> None:
        self._now: int | None = None
        self.hz: int | None = None
        try:
            address = memory.symbols.symbol_address("jiffies")
            if address is None:
                raise LookupError("the kernel's symbol table has no jiffies")
            self._now = memory.reader.read_u64(address)
            self.hz = _read_hz(memory.prog)
        except (LookupError, AttributeError, TypeError, ReadError, drgn.FaultError) as error:
            memory.errors.add("kernel", "jiffies", str(error))

    def seconds_since(self, start: int | None) -> float | None:
        """Seconds since a value of ``jiffies``; ``None`` for one that is missing."""
        if start is None or self._now is None or self.hz is None:
            return None
        elapsed = (self._now - start) & _U64
        if elapsed > _U64 >> 1:  # it was set after we looked at jiffies
            elapsed = 0
        return round(elapsed / self.hz, 3)


def _read_hz(prog: drgn.Program) -> int:
    """``HZ``, from the length of a tick that ``ntp_tick_length()`` gives (within 0.05 % of the true one)."""
    try:
        timekeeper = prog["timekeeper_data"][prog["TIMEKEEPER_CORE"]].timekeeper  # 6.17
    except LookupError:
        timekeeper = prog["tk_core"].timekeeper
    tick = int(timekeeper.ntp_tick.value_()) / (1 << _NTP_SCALE_SHIFT)
    hz = round(1e9 / tick) if tick else 0
    if not 0 < hz <= _MAX_HZ:
        raise LookupError(f"a tick of {tick:.0f} ns is no tick")
    return hz
