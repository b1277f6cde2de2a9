"""System calls that Python has no function for, through libc, and fork(2). Stands below all layers."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import NoReturn

__all__ = ("checked", "end_by", "end_with", "fork", "kill_group", "libc", "signals_held")

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_ENDING = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


@cache
def libc() -> ctypes.CDLL:
    """It keeps ``errno`` for :func:`checked`."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> int:
    """What a call gave. :raises OSError: if that is below zero: what ``errno`` says"""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@contextmanager
def signals_held() -> Iterator[None]:
    """What would end this process comes after the block: for a wait of no time, on a child that does not outlive it.

    Of a process with one thread; where there are more, another one hears it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def fork() -> int:
    """os.fork(), in which Ctrl-C is not lost: what it raises in the hooks that Python runs around a fork is ignored."""
    with signals_held():
        return os.fork()


def end_with(parent: int) -> None:
    """Of a process that was just forked: it is killed when its parent ends, and ends now if that has ended already."""
    libc().prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def end_by(number: signal.Signals) -> NoReturn:
    """End this process by a signal, whatever was to be done about it.

    From any thread: Python sets handlers in one alone, and that may never run again.
    """
    set_handler = libc().signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    set_handler(number, None)  # SIG_DFL
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    signal.raise_signal(number)
    os._exit(128 + number)  # PID 1 of its namespace: it does not end by what it does not handle


def kill_group(pid: int) -> None:
    """Kill a child, and all of the group that it was to make for itself."""
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError):  # it has not made its group, or has ended
            kill(pid, signal.SIGKILL)
