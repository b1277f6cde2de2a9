"""What this process is, which rights it gives up, and what its exit code says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.wire import ExitCode

if TYPE_CHECKING:
    from explorer.targets import OpenOptions, TargetSpec

__all__ = (
    "ExitCode",
    "confine_reader",
    "give_up_rights",
    "give_up_rights_but_for",
    "is_program",
    "note_program",
    "note_watcher",
    "parse_without_rights",
    "tell_ending",
)

#: Kinds of targets that are files with a kernel's memory.
_DUMPS = ("vmcore", "sample", "physmem")
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


def tell_ending(code: int) -> bool:
    """The command has come to its end: any other end of this process is none of its own.

    :returns: whether anybody was to be told
    """
    if _tell is not None:
        _tell(code)
    return _tell is not None


def parse_without_rights(spec: TargetSpec, options: OpenOptions, output: Path | None) -> None:
    """Of a dump, and of the running kernel: open it, and give up the rights that it took before anything in it is
    parsed, its symbols likewise. With DWARF, drgn asks the running kernel for what only root may see.

    :raises TargetError: if it cannot be opened, or rights cannot be given up
    """
    is_running = spec.kind == "live" and not options.symbols and options.types != "dwarf"
    if is_program() and (is_running or spec.kind in _DUMPS):
        from explorer.targets import Needs, hold_open, hold_running
        from explorer.targets import give_up_rights as give_up

        if spec.path is not None:
            hold_open(spec.path)
        else:
            hold_running()
        more = () if options.symbols_file is None else (options.symbols_file,)
        give_up(Needs((*options.symbols, *more), () if output is None else (output,)))


def give_up_rights(spec: TargetSpec, output: Path | None) -> None:
    """What is left to do with an open target needs next to none. Of a process that is not the command, only for live.

    :raises TargetError: if they cannot be given up
    """
    from explorer.targets import Needs
    from explorer.targets import give_up_rights as give_up

    if spec.kind != "live" and not is_program():
        return
    is_read_later = spec.kind in ("snapshot", "recording")
    reads = (spec.path,) if is_read_later and spec.path is not None else ()
    give_up(Needs(reads, () if output is None else (output,), guest=spec.kind == "qemu"))
    confine_reader(output, guest=spec.kind == "qemu")


def give_up_rights_but_for(*files: Path, output: Path | None = None) -> None:
    """Before a byte of a stranger's file is read. Not of a program that called the command."""
    if is_program():
        from explorer.targets import Needs, give_up_rights

        there = tuple(file for file in files if file.exists())
        give_up_rights(Needs(there, () if output is None else (output,)))
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
