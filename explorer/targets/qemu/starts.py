"""Where the pages of a guest begin: the first bytes of each, out of the memory of the QEMU process.

A VMCOREINFO text begins with a page, or behind the head of the note in it: to look there alone costs a tenth of what it
costs to read and search all memory, and may be done while a guest waits.
"""

from __future__ import annotations

import ctypes
import re
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, cycle, islice
from math import inf

from explorer.targets.errors import TargetError
from explorer.targets.qemu.qmp import QmpConnection
from explorer.targets.vmcoreinfo import starts_in

__all__ = ("PageStarts",)

_PAGE = 4096
#: Of each page; both places where a text may begin, and the word that it begins with, are within.
_START = 64
#: ``UIO_MAXIOV``: what one system call takes.
_PAGES = 1024
_PIECE = _PAGES * _PAGE
#: Memory below here, where the kernel has put its VMCOREINFO page in every boot seen, is looked at thrice as often.
_LIKELY = 64 << 20
_LIKELY_OF_FOUR = 3
#: Pieces that are looked at in any case, however slow the machine is.
_AT_LEAST = 4
_HOST_ADDRESS = re.compile(r"^Host virtual address for 0x[0-9a-f]+ \([^)]*\) is (0x[0-9a-f]{1,16})\s*$")


@dataclass(frozen=True, slots=True)
class _Piece:
    """Up to 4 MiB of the guest's memory: its physical address, and that in QEMU."""

    address: int
    host: int
    pages: int


class PageStarts:
    """Looks at them in turn, a part at each call. Made by :meth:`of_guest`."""

    def __init__(self, pid: int, pieces: list[_Piece]) -> None:
        self._pid = pid
        self._read = ctypes.CDLL(None, use_errno=True).process_vm_readv
        self._read.argtypes = (
            ctypes.c_int, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong, ctypes.c_ulong,
        )  # fmt: skip
        self._read.restype = ctypes.c_ssize_t
        self._data = bytearray(_PAGES * _START)
        self._pieces = pieces
        self._turns = _turns(pieces)

    @classmethod
    def of_guest(cls, monitor: QmpConnection, ram: list[tuple[int, int]]) -> PageStarts | None:
        """``None`` where QEMU does not say, or not truly, where in its memory the guest's is, or does not let us look.

        :param ram: (first, end) physical addresses
        """
        pid, pieces = monitor.peer, []
        for first, end in ram:
            host = _host_address(monitor, first)
            if host is None or not pid:
                return None
            for at in range(first, end - _PAGE + 1, _PIECE):
                pieces.append(_Piece(at, host + at - first, min(_PIECE, end - at) // _PAGE))
        starts = cls(pid, pieces)
        return starts if pieces and starts._look(pieces[0]) is not None else None

    def find(self, seconds: float | None) -> Iterator[int]:
        """Physical addresses of pages in which a text seems to begin.

        :param seconds: how long to look; ``None``: everywhere, once
        """
        deadline = inf if seconds is None else time.perf_counter() + seconds
        turns = self._pieces if seconds is None else islice(self._turns, len(self._pieces))
        for number, piece in enumerate(turns):
            if number >= _AT_LEAST and time.perf_counter() > deadline:
                return
            for page in self._look(piece) or ():
                yield piece.address + page * _PAGE

    def _look(self, piece: _Piece) -> list[int] | None:
        """Which pages of a piece a text seems to begin in; ``None`` if it cannot be looked at."""
        size = piece.pages * _START
        remote = array("Q", bytes(16 * piece.pages))
        remote[0::2] = array("Q", range(piece.host, piece.host + piece.pages * _PAGE, _PAGE))
        remote[1::2] = array("Q", [_START]) * piece.pages
        data = (ctypes.c_char * len(self._data)).from_buffer(self._data)
        local = array("Q", [ctypes.addressof(data), size])
        read = self._read(self._pid, local.buffer_info()[0], 1, remote.buffer_info()[0], piece.pages, 0)
        if read <= 0:
            return None
        return sorted({at // _START for at in starts_in(bytes(self._data[:read]), _START)})


def _turns(pieces: list[_Piece]) -> Iterator[_Piece]:
    likely = [piece for piece in pieces if piece.address < _LIKELY]
    others = [piece for piece in pieces if piece.address >= _LIKELY]
    if not likely or not others:
        return cycle(pieces)
    first, then = cycle(likely), cycle(others)
    return chain.from_iterable(
        (*(next(first) for _ in range(_LIKELY_OF_FOUR)), next(then)) for _ in iter(int, 1)
    )


def _host_address(monitor: QmpConnection, address: int) -> int | None:
    try:
        found = _HOST_ADDRESS.match(monitor.monitor(f"gpa2hva {address:#x}"))
    except TargetError:
        return None
    return None if found is None else int(found[1], 16)
