"""Files that are whole or not there: written aside, then renamed; readable by their owner only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from explorer.compression import COMPRESSIONS, method_of_name
from explorer.places import Place, find_place, replacing

__all__ = ("OutputError", "check_writable", "open_growing", "open_output")

#: Suffixes of what is compressed or packed in a way that is not written here.
_NOT_WRITTEN = (
    ".7z",
    ".br",
    ".lz",
    ".lzma",
    ".lzo",
    ".rar",
    ".tar",
    ".tgz",
    ".tbz2",
    ".txz",
    ".z",
    ".zip",
    ".zstd",
)


class OutputError(Exception):
    """The output cannot be written; the message is one line that says why and what to do."""


def check_writable(path: Path) -> None:
    """Fail before the long work, not after it. :raises OutputError: if nothing can be written there"""
    if path.suffix.lower() in _NOT_WRITTEN:
        known = ", ".join(method.suffix for method in COMPRESSIONS)
        raise OutputError(f"{path}: {path.suffix} is not written: end the name in one of {known}, or in none")
    with _place(path) as place:
        if place.is_special:
            return
        if not os.access(f"/proc/self/fd/{place.directory}", os.W_OK | os.X_OK):
            raise OutputError(f"{path.parent} is not writable for you: write somewhere else")


def _place(path: Path) -> Place:
    """Where it is written: through a symbolic link the file it names is replaced, not the link."""
    try:
        place = find_place(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OutputError(
            f"{path.parent} is not a directory: make it first, or write somewhere else"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write {path}: {why}: write somewhere else") from error
    if place.is_directory:
        with place:
            raise OutputError(f"{path} is a directory: name a file in it")
    return place


@contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """A binary stream to ``path``, or to standard output for ``None``; compressed as its name says.

    The file appears under its name, mode 0600, only when the block ends without an exception; until then the
    bytes are in a file without a name beside it. Devices and FIFOs are written to directly.

    :raises OutputError: for anything the operating system refuses, a full disk included
    """
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    check_writable(path)
    try:
        with _place(path) as place:
            opened = _special(place) if place.is_special else replacing(place)
            with opened as file, _compressed(file, path) as out:
                yield out
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def open_growing(path: Path | None) -> Iterator[BinaryIO]:
    """As :func:`open_output`, for what may be killed any time and is of use as far as it got: the file has its name
    from the beginning, and what is flushed is in it. One that is compressed as its name says is whole or not there.

    :raises OutputError: for anything the operating system refuses
    """
    if path is None or method_of_name(path.name) is not None:
        with open_output(path) as out:
            yield out
        return
    check_writable(path)
    try:
        with _place(path) as place:
            opened = _special(place) if place.is_special else replacing(place, at_once=True)
            with opened as file:
                yield file
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _compressed(file: BinaryIO, path: Path) -> Iterator[BinaryIO]:
    method = method_of_name(path.name)
    if method is None:
        yield file
        return
    with method.writer(file) as packed:
        yield packed


@contextmanager
def _special(place: Place) -> Iterator[BinaryIO]:
    with os.fdopen(place.open_special(), "wb") as file:
        yield file
