"""One kernel as the capture reads it: what nearly every part of it needs, in one piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import drgn

from .decode import Decoder, probed
from .layout import Layout
from .reader import ErrorLog, MemoryReader, ReadError
from .symbols import SymbolTable

__all__ = ("Memory",)

_T = TypeVar("_T")
_LIVE_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of one kernel, and how to read it."""

    prog: drgn.Program
    reader: MemoryReader
    layout: Layout
    symbols: SymbolTable
    errors: ErrorLog
    live: bool
    """The kernel runs while it is read: what changed underfoot is read again."""

    def probe(self, what: str, probe: Callable[[drgn.Program], _T]) -> _T | None:
        """The layout of a part that can be done without; ``None``, with an error entry, if the types lack something."""
        try:
            return probed(self.prog, what, probe)
        except LookupError as error:
            self.errors.add(what, "layout", str(error))
            return None

    def again(self, read: Callable[[], _T]) -> _T:
        """What ``read`` gives; of a kernel that runs, a list that changed underfoot is walked a few times.

        :raises ReadError: as ``read`` does the last time
        """
        for _ in range(_LIVE_ATTEMPTS - 1 if self.live else 0):
            try:
                return read()
            except ReadError:
                continue
        return read()

    def read_structure(
        self, decoder: Decoder, structure: Callable[..., _T], address: int, name: Callable[[_T], str]
    ) -> _T:
        """A structure, whole or in part: members that are not there are ``None``, and an error entry says which.

        :param structure: what ``decoder`` gives the fields of, one of :mod:`.structures`
        :param name: how error entries call it
        :raises ReadError: if nothing of it is there
        """
        values, unread, why = self.reader.read_members(decoder, address)
        found = structure(address, *values)
        if why is not None:
            self.errors.add(name(found), ", ".join(decoder.fields[index] for index in unread), why)
        return found
