"""What this process is, which rights it gives up, and what its exit code says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from explorer.wire import PROGRAM, ExitCode

if TYPE_CHECKING:
    from explorer.model import Snapshot
    from explorer.targets import Needs, OpenOptions, TargetSpec

__all__ = (
    "ExitCode",
    "cache_no_more",
    "give_up_rights_but_for",
    "is_program",
    "keep_only",
    "look_at_no_task",
    "note_program",
    "note_watcher",
    "open_no_more",
    "parse_without_rights",
    "tell_ending",
    "warn_of_errors",
)

#: Of each part of an error that is shown on the terminal.
_MOST_WORDS = 250

_program = False
_kept: Needs | None = None
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


def parse_without_rights(
    targets: Iterable[tuple[TargetSpec, OpenOptions]],
    output: Path | None = None,
    reads: tuple[Path, ...] = (),
) -> None:
    """Open what takes rights to open, of all targets that a command names, and give them up: only then is anything
    parsed, symbols likewise. Of a process that is not the command, only for the running kernel.

    :param output: what will be written
    :param reads: files that are opened later

    :raises TargetError: if one cannot be opened, or rights cannot be given up
    """
    from explorer.targets import Needs, hold_target

    wanted = [(spec, options) for spec, options in targets if spec.kind == "live" or is_program()]
    if wanted:
        needs = Needs(reads, () if output is None else (output,))
        keep_only(sum((hold_target(spec, options) for spec, options in wanted), needs))


def give_up_rights_but_for(*files: Path, output: Path | None = None) -> None:
    """Before a byte of a stranger's file is read. Not of a program that called the command."""
    if is_program():
        from explorer.targets import Needs

        there = tuple(file for file in files if file.exists())
        keep_only(Needs(there, () if output is None else (output,)))


def keep_only(needs: Needs) -> None:
    """The one place where a command says what it still needs. A program that called the command is not confined.

    :raises TargetError: if rights cannot be given up
    """
    from explorer.targets import keep_only as keep

    global _kept
    _kept = needs
    keep(needs, confined=is_program())


def look_at_no_task() -> None:
    """What /proc tells is read: what that took is given up, too. :raises TargetError: as :func:`keep_only` does"""
    if _kept is not None and _kept.tasks:
        keep_only(replace(_kept, tasks=False))


def cache_no_more() -> None:
    """Symbols and types are known: what runs from here on, plugins among it, does not write to their cache."""
    if _kept is not None and _kept.caches and _kept.confines_files and is_program():
        from explorer.confine import confine

        confine(replace(_kept, caches=False).directories(), _kept.calls())


def open_no_more() -> None:
    """What is written is open: a right to open files, if one was left, is given up, too."""
    if _kept is not None:
        from explorer.targets import give_up_rights

        give_up_rights(replace(_kept, reads=(), writes=()))


def warn_of_errors(snapshot: Snapshot) -> int:
    """Exit code 4, and a line that says why, if values or tasks are missing."""
    from explorer.analysis import lost_tasks, task_count
    from explorer.model import escape_text

    lost = lost_tasks(snapshot)
    if lost is not None:
        why = escape_text(lost[:_MOST_WORDS])
        click.echo(f"{PROGRAM}: tasks are missing, there are {task_count(snapshot)}: {why}", err=True)
    if not snapshot.errors:
        return ExitCode.OK if lost is None else ExitCode.ERRORS

    first, count = snapshot.errors[0], len(snapshot.errors)
    click.echo(
        f"{PROGRAM}: {count} value{'s' * (count != 1)} could not be read; the first: "
        + ": ".join(escape_text(text[:_MOST_WORDS]) for text in (first.where, first.what, first.why)),
        err=True,
    )
    return ExitCode.ERRORS
