"""The beginnings of a process's pages: every text that the kernel could have put there is found, and nothing else."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from itertools import chain

import pytest

from explorer.targets.qemu.control import runs_before_any_kernel
from explorer.targets.qemu.starts import PageStarts, _Piece

_PAGE = 4096
_PIECE = 4 << 20
_GUEST = 0x10_0000  # where the memory is, for the guest
_TEXT = b"OSRELEASE=7.3.4"


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    """32 pieces, half of them beyond where a text is likely."""
    with mmap.mmap(-1, 32 * _PIECE) as memory:
        yield memory


def starts_of(memory: mmap.mmap) -> PageStarts:
    host = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pieces = [
        _Piece(_GUEST + at, host + at, min(_PIECE, len(memory) - at) // _PAGE)
        for at in range(0, len(memory), _PIECE)
    ]
    return PageStarts(os.getpid(), pieces)


def test_a_text_is_found_at_the_beginning_of_a_page_and_behind_a_notes_head(memory: mmap.mmap) -> None:
    wanted = [0, 7 * _PAGE, 1023 * _PAGE, 1024 * _PAGE, 20 * _PIECE + 5 * _PAGE, len(memory) - _PAGE]
    for number, page in enumerate(wanted):
        at = page + (24 if number % 2 else 0)
        memory[at : at + len(_TEXT)] = _TEXT
    assert list(starts_of(memory).find(None)) == [_GUEST + page for page in wanted]


def test_a_text_anywhere_else_is_not_taken_for_one(memory: mmap.mmap) -> None:
    for page, inside in enumerate((1, 23, 25, 40, 64, 2048, 4080)):
        memory[page * _PAGE + inside : page * _PAGE + inside + len(_TEXT)] = _TEXT
    assert list(starts_of(memory).find(None)) == []


def test_in_turn_everything_is_looked_at_and_what_is_likely_first(memory: mmap.mmap) -> None:
    """However little time there is at each call."""
    likely, far = 9 * _PIECE, 30 * _PIECE
    for page in (likely, far):
        memory[page : page + len(_TEXT)] = _TEXT
    starts = starts_of(memory)
    calls = [list(starts.find(0.0)) for _ in range(32)]
    assert set(chain.from_iterable(calls)) == {_GUEST + likely, _GUEST + far}
    assert _GUEST + likely in chain.from_iterable(calls[:8])


def test_a_text_that_comes_later_is_found_later(memory: mmap.mmap) -> None:
    starts = starts_of(memory)
    assert [page for _ in range(20) for page in starts.find(0.0)] == []
    memory[3 * _PAGE : 3 * _PAGE + len(_TEXT)] = _TEXT
    assert {page for _ in range(20) for page in starts.find(0.0)} == {_GUEST + 3 * _PAGE}


def test_memory_that_cannot_be_looked_at_holds_nothing() -> None:
    assert list(PageStarts(os.getpid(), [_Piece(0, 4096, 16)]).find(None)) == []


@pytest.mark.parametrize(
    ("registers", "before"),
    [
        ("EIP=0000fff0 EFL=00000002 II=0 CPL=0", True),
        ("RIP=0000000001000200 RFL=00000046 CPL=0", True),
        ("RIP=ffffffff81000000 RFL=00000046 CPL=0", False),
        ("RIP=00007f0000001000 RFL=00000246 CPL=3", False),
        ("nothing that is known", False),
    ],
)
def test_firmware_and_what_unpacks_a_kernel_are_told_from_one(registers: str, before: bool) -> None:
    assert runs_before_any_kernel(registers) is before
