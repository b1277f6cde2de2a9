"""The streams that a program may expect to have: if one is closed or full, the exit code still says what was."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import click

from explorer.wire import PROGRAM

from .process import ExitCode

__all__ = ("abandon_stdout", "check_streams", "escape_lines", "is_out_of_memory", "say")

#: What every program may expect to have, and what to say where it is missing.
_STREAMS = (
    ("stdout", "standard output", ">"),
    ("stderr", "standard error", "2>"),
)
#: What the loader (elf/dl-map-segments.h, dl-load.c of glibc) and CPython say where there is no memory.
_NO_MEMORY = (
    "failed to map segment",
    "cannot allocate memory",
    "can't start new thread",
    "cannot create thread",
)
_DEEPEST = 20


class _Stderr(io.FileIO):
    """What cannot be said there (a full disk, a pipe whose reader has gone) is not said: the exit code says it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def check_streams() -> None:
    """End with exit code 2 where a daemon, or ``>&-``, closed stdout or stderr: the next file opened would be it.

    A closed stdin is an empty one: few ask for it, and cron jobs and test runners have none.
    """
    if sys.stdin is None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # it is the process's own until its end
    closed = [words for name, *words in _STREAMS if getattr(sys, name) is None]
    if sys.stderr is not None:
        raw = io.BufferedWriter(_Stderr(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(
            raw, "utf-8", "backslashreplace", line_buffering=True, write_through=True
        )
    if not closed:
        return
    if sys.stderr is not None:
        names = " and ".join(name for name, _ in closed)
        hints = " ".join(f"{redirection}/dev/null" for _, redirection in closed)
        verb = "is" if len(closed) == 1 else "are"
        say(f"{PROGRAM}: {names} {verb} closed: open what is missing, if only with {hints}")
    os._exit(ExitCode.USAGE)  # nothing is buffered, and nothing may be opened in the stream's place


def say(text: str) -> None:
    """A line on stderr. Where that cannot be written (a full disk), the exit code is all that is left to say it."""
    try:
        click.echo(text, err=True)
    except OSError:  # of a program that called the command, whose stderr is its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def abandon_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that there is no memory: of a library that is loaded, too, or of a
    process or a thread that is to be made."""
    for _ in range(_DEEPEST):
        if error is None:
            return False
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(error, ImportError | RuntimeError | OSError):
            text = str(error)[:1000].lower()
            if any(words in text for words in _NO_MEMORY):
                return True
        error = error.__cause__ or error.__context__
    return False


def escape_lines(text: str) -> str:
    """A traceback for the terminal: it may quote text from the kernel."""
    from explorer.model import escape_text

    return "\n".join(escape_text(line) for line in text.splitlines())
