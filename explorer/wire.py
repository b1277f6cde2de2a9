"""What the process that reads a target tells the screen that started it, on its standard error, and by its exit code.

Its standard output is a snapshot as JSON Lines, or a trace (:mod:`explorer.codec.traces`) as it goes on. On its
standard error stand lines of progress (``progress<TAB>what<TAB>done<TAB>total``), ``crashed<TAB>signal`` if the process
that read has crashed and another one writes what was kept, and at the end one line that says why it failed. All of that
is written and parsed here.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import NamedTuple

__all__ = (
    "PROGRAM",
    "Crashed",
    "ExitCode",
    "Message",
    "Progress",
    "Words",
    "error_line",
    "fleet_reader_arguments",
    "message_line",
    "parse_message",
    "reader_arguments",
    "signal_of",
    "trace_arguments",
)

#: What stands before everything that the command says of itself.
PROGRAM = "nullfs-explorer"
#: Shells and sudo add this to the number of the signal that ended a process.
_BY_SIGNAL = 128
_DIGITS = 18


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


class Progress(NamedTuple):
    """How far the reader is."""

    what: str
    done: int
    total: int | None = None
    """``None`` where it is not known."""


class Crashed(NamedTuple):
    """The process that read was ended by a signal; what follows is what another one kept."""

    signal: str


class Words(NamedTuple):
    """A line for people: the last one says why there is no snapshot, or that values are missing in it."""

    text: str
    """Not escaped."""


Message = Progress | Crashed | Words


def reader_arguments(arguments: Sequence[str]) -> list[str]:
    """The command line, behind the program's name, that makes it speak so. :param arguments: what to read, and how"""
    return ["snapshot", "--format", "jsonl", "--progress-lines", *arguments]


def trace_arguments() -> list[str]:
    """The command line, behind the program's name, that traces the running kernel, and writes a trace as it comes."""
    return ["trace-lines"]


def fleet_reader_arguments() -> list[str]:
    """The command line, behind the program's name, that reads targets for a fleet's worker, one after the other."""
    return ["fleet-reader"]


def message_line(message: Progress | Crashed) -> str:
    """A message as a line, its end included."""
    if isinstance(message, Crashed):
        return f"crashed\t{_plain(message.signal)}\n"
    total = "" if message.total is None else message.total
    return f"progress\t{_plain(message.what)}\t{message.done}\t{total}\n"


def _plain(text: str) -> str:
    """Without what would end a field or a line."""
    return " ".join(text.replace("\t", " ").splitlines())


def error_line(text: str) -> str:
    """What the command says of itself, as a line without its end."""
    return f"{PROGRAM}: {text}"


def parse_message(line: str) -> Message | None:
    """A line as a message; ``None`` for a blank one. What is none of ours is words: a reader may say anything."""
    parts = line.rstrip("\n").split("\t")
    if parts[0] == "progress" and len(parts) == 4 and _is_number(parts[2]):
        if not parts[3]:
            return Progress(parts[1], int(parts[2]))
        if _is_number(parts[3]):
            return Progress(parts[1], int(parts[2]), int(parts[3]))
    if parts[0] == "crashed" and len(parts) == 2:
        return Crashed(parts[1])
    text = line.strip().removeprefix(f"{PROGRAM}: ")
    return Words(text) if text else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS


def signal_of(code: int) -> str | None:
    """The signal that ended a process, by its exit code as Python, shells or sudo give it; ``None``: none did."""
    number = -code if code < 0 else code - _BY_SIGNAL
    if number <= 0:
        return None
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)
