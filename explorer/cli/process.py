"""What this process is, and what its exit code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from explorer.wire import ExitCode

__all__ = (
    "ExitCode",
    "confine_reader",
    "give_up_rights_but_for",
    "is_program",
    "note_program",
    "note_watcher",
    "tell_ending",
)


_program = False
_tell: Callable[[int], None] | None = None


def note_program(is_command: bool) -> None:
    """Say what :func:`is_program` is to answer."""
    global _program
    _program = is_command


def is_program() -> bool:
    """Whether this process is the command, and not a program that called it with words of its own."""
    return _program


def note_watcher(tell: Callable[[int], None]) -> None:
    """Say who is to be told the exit code before this process ends."""
    global _tell
    _tell = tell


def tell_ending(code: int) -> None:
    """The command has come to its end: any other end of this process is none of its own."""
    if _tell is not None:
        _tell(code)


def give_up_rights_but_for(file: Path, output: Path | None = None) -> None:
    """Before a byte of a stranger's file is read. Not of a program that called the command."""
    if is_program():
        from explorer.targets import Needs, give_up_rights

        give_up_rights(Needs((file,), () if output is None else (output,)))
        confine_reader(output)


def confine_reader(output: Path | None, *, guest: bool = False) -> None:
    """Of the command, once its rights are given up: see :mod:`explorer.confine`. :param guest: QEMU's memory is read"""
    if is_program():
        from explorer.confine import confine
        from explorer.places import find_place

        writes = []
        if output is not None:
            with find_place(output) as place:
                writes.append(Path(f"/proc/self/fd/{place.directory}").readlink())
        confine(writes, guest=guest)
