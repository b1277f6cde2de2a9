"""Files that are whole or not there: written aside, then renamed; readable by their owner only."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from explorer.caller import follow_links
from explorer.compression import COMPRESSIONS, method_of_name

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
    _followed(path)
    if path.suffix.lower() in _NOT_WRITTEN:
        known = ", ".join(method.suffix for method in COMPRESSIONS)
        raise OutputError(f"{path}: {path.suffix} is not written: end the name in one of {known}, or in none")
    directory = path.parent
    if path.is_dir():
        raise OutputError(f"{path} is a directory: name a file in it")
    if not directory.is_dir():
        raise OutputError(f"{directory} is not a directory: make it first, or write somewhere else")
    if _is_special(path):
        return
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"{directory} is not writable for you: write somewhere else")


def _followed(path: Path) -> Path:
    """What is written: through a symbolic link the file it names is replaced, not the link."""
    try:
        return follow_links(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}: write somewhere else") from error


def _is_special(path: Path) -> bool:
    """A device, FIFO or the like: written to, never replaced."""
    return path.exists() and not path.is_file()


@contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """A binary stream to ``path``, or to standard output for ``None``; compressed as its name says.

    The file appears under its name, mode 0600, only when the block ends without an exception; until then the
    bytes are in a temporary file beside it. Devices and FIFOs are written to directly.

    :raises OutputError: for anything the operating system refuses, a full disk included
    """
    if path is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    check_writable(path)
    try:
        if _is_special(path):
            with path.open("wb") as device, _compressed(device, path) as out:
                yield out
        else:
            with _replacing(_followed(path)) as file, _compressed(file, path) as out:
                yield out
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def open_growing(path: Path | None) -> Iterator[BinaryIO]:
    """As :func:`open_output`, for what may be killed any time and is of use as far as it got: the file has its name
    from the beginning, and what is flushed is in it. One that is compressed as its name says is whole or not there.

    :raises OutputError: for anything the operating system refuses
    """
    if path is None or method_of_name(path.name) is not None or _is_special(path):
        with open_output(path) as out:
            yield out
        return
    check_writable(path)
    try:
        final = _followed(path)
        descriptor, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.name[:100]}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            Path(name).replace(final)
            yield file
            file.flush()
            os.fsync(file.fileno())
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
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the name ``path`` when all of it is on the disk, and leaves nothing if it fails."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".part")
    temporary: Path | None = Path(name)  # mkstemp() makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
        temporary = None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
