"""What this process is, and what its exit code says."""

from __future__ import annotations

__all__ = ("ExitCode", "is_program", "note_program")


class ExitCode:
    """What the exit code says."""

    OK = 0
    FOUND = 1
    """Something was found that is worth failing for."""
    USAGE = 2
    """The command line is wrong, or its output cannot be written where it says."""
    TARGET = 3
    """The target cannot be opened, or the reader crashed before it had read the tasks."""
    ERRORS = 4
    """Captured with errors; the output is written."""


_program = False


def note_program(is_command: bool) -> None:
    """Say what :func:`is_program` is to answer."""
    global _program
    _program = is_command


def is_program() -> bool:
    """Whether this process is the command, and not a program that called it with words of its own."""
    return _program
