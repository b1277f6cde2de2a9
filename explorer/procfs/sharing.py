"""Who shares an ``fs_struct`` with whom: by kcmp(2), which orders what it compares, so that a search finds the like."""

from __future__ import annotations

from .syscalls import compare_fs

__all__ = ("Sharing",)

_EQUAL, _LESS = 0, 1


class Sharing:
    """Groups of threads with one ``fs_struct``; a group is called by the first of its threads that was asked about."""

    def __init__(self) -> None:
        self._first: list[int] = []
        """One thread of each group, in the kernel's order."""

    def group_of(self, pid: int) -> int:
        """:raises OSError: if it may not be asked about (EPERM), or is gone (ESRCH)"""
        low, high = 0, len(self._first)
        compare_fs(pid, pid)  # else a first one that may not be asked about makes a group of its own
        while low < high:
            middle = (low + high) // 2
            try:
                order = compare_fs(pid, self._first[middle])
            except ProcessLookupError:
                compare_fs(pid, pid)
                del self._first[middle]  # that one is gone; a group of it that lives on gets another name
                high -= 1
                continue
            if order == _EQUAL:
                return self._first[middle]
            low, high = (low, middle) if order == _LESS else (middle + 1, high)
        self._first.insert(low, pid)
        return pid
