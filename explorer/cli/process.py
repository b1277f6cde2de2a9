"""What this process is, and what its exit code says."""

from __future__ import annotations

from explorer.wire import ExitCode

__all__ = ("ExitCode", "is_program", "note_program")


_program = False


def note_program(is_command: bool) -> None:
    """Say what :func:`is_program` is to answer."""
    global _program
    _program = is_command


def is_program() -> bool:
    """Whether this process is the command, and not a program that called it with words of its own."""
    return _program
