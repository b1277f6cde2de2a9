"""What the user asked to look at, before anything is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

__all__ = ("Progress", "TargetKind", "TargetSpec", "no_progress")

TargetKind = Literal["live", "vmcore", "qemu", "physmem", "sample", "snapshot", "recording", "trace", "proc"]


class Progress(Protocol):
    """Called during long work: what is being done, and how many bytes of how many (``None``: unknown)."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


class TargetSpec(NamedTuple):
    """One target, as named on the command line; :func:`explorer.targets.detect.detect_target` makes it."""

    kind: TargetKind
    #: As the user wrote it: a snapshot shows it as ``source.target``.
    text: str
    #: The file (vmcore, physmem, sample, snapshot, recording, trace), or ``None``.
    path: Path | None = None
    #: The QMP socket path or ``host:port`` (qemu), or ``None``.
    address: str | None = None
    #: Which frame of a recording: ``3.4s`` or ``#12``; ``None``: the last one.
    moment: str | None = None

    @property
    def is_saved(self) -> bool:
        """Whether it is something that this program wrote, and not a kernel's memory."""
        return self.kind in ("snapshot", "recording", "trace")

    @property
    def is_pipe(self) -> bool:
        """Whether no other process can open it again."""
        return self.path is not None and self.path.parent == Path("/proc/self/fd")

    @property
    def file_name(self) -> str:
        """What to call the file: of a pipe, ``path`` is where its content went."""
        return self.text.rpartition("@")[0] if self.moment is not None else self.text


def no_progress(what: str, done: int, total: int | None) -> None:
    """The :class:`Progress` of a caller who does not want to know."""
