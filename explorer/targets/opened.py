"""An open kernel: drgn's ``Program``, what it was opened from, and what is known to be missing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

import drgn

from explorer.targets.vmcoreinfo import VmcoreInfo

__all__ = ("OpenProgram",)


@dataclass
class OpenProgram:
    """A kernel, open for reading. One thread at a time may use ``prog``."""

    prog: drgn.Program
    kind: Literal["live", "vmcore", "qemu", "physmem"]
    #: As the user wrote it.
    target: str
    vmcoreinfo: VmcoreInfo
    #: False if the kernel may run while it is read.
    consistent: bool
    #: What the user should know about how it is read, one sentence each.
    notes: list[str] = field(default_factory=list)
    #: Why a part of the memory is not there, as far as the file itself tells; ``None``: all of it should be.
    missing_memory: str | None = None
    #: Why memory is missing that should be in the file, and how much: it is cut off, or was never written whole.
    cut_off: str | None = None
    #: A slice, which holds what a capture read when it was made.
    is_slice: bool = False
    closers: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def close(self) -> None:
        """Let go of files and sockets; ``prog`` is of no use afterwards."""
        while self.closers:
            self.closers.pop()()

    def __enter__(self) -> OpenProgram:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
