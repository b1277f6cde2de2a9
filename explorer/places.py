"""Where something is written: one way of opening it, for outputs, caches, recordings and whatever else leaves a file.

A path is walked with descriptors, a component at a time, as ``openat2`` with ``RESOLVE_NO_SYMLINKS`` would, but that
links of this user's or root's are followed: one of anybody else's was put there, in a directory that all may write to,
and so was a pipe or a socket of anybody else's. What is found is not looked up again: a file is made in the directory
that was walked to. The ``protected_*`` settings of the kernel's (fs/namei.c) are no help here: they are for
directories that are sticky and writable by all, and may be off. Stands below all layers.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from explorer.caller import is_foreign

__all__ = ("NewFile", "Place", "find_place", "naming", "replacing")

_MAX_LINKS = 40
_MAX_NAME = 100
#: For somebody to open a pipe to read it: its shell may be starting it just now.
_READER_S = 60.0
_WALKED = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_OWN_STREAMS = Path("/proc/self/fd")


@dataclass(slots=True)
class Place:
    """A directory that is open, and the name of a file in it that may not be there yet. Closed with its ``with``."""

    path: Path
    """As it was named."""
    directory: int
    name: str
    status: os.stat_result | None
    """Of what is there: never of a link. ``None``: nothing."""
    own_stream: bool = False
    """It is a descriptor that this process has open already: ``/dev/stdout``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.directory)

    @property
    def is_directory(self) -> bool:
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    @property
    def is_special(self) -> bool:
        """A device, a pipe, a descriptor of our own: written to, never replaced."""
        if self.status is None or self.is_directory:
            return False
        return self.own_stream or not stat.S_ISREG(self.status.st_mode)

    def can_be_written(self) -> bool:
        """Whether a file can get this name, or what is there and is no file be written to."""
        if self.is_special:
            return self.own_stream or os.access(self.name, os.W_OK, dir_fd=self.directory)
        above = os.fstat(self.directory)
        owners = () if self.status is None else (self.status.st_uid, above.st_uid)
        if owners and above.st_mode & stat.S_ISVTX and os.geteuid() not in owners:
            return False
        return os.access(f"/proc/self/fd/{self.directory}", os.W_OK | os.X_OK)

    def open_special(self, wait_s: float = _READER_S) -> int:
        """A descriptor to write to what is no file.

        :param wait_s: for somebody to read a pipe
        :raises OSError: if it cannot be opened, is a pipe that nobody reads, or has become something else
        """
        if self.own_stream:
            return os.dup(int(self.name))
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fd = os.open(self.name, flags, dir_fd=self.directory)
                break
            except OSError as error:
                if (
                    error.errno != errno.ENXIO
                    or self.status is None
                    or not stat.S_ISFIFO(self.status.st_mode)
                ):
                    raise
                if time.monotonic() >= deadline:
                    raise OSError(
                        errno.ENXIO, f"a pipe that nobody has read from for {wait_s:g} s"
                    ) from error
            time.sleep(0.02)
        try:
            _check_kind(os.fstat(fd), self.path)
            os.set_blocking(fd, True)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def create(self) -> NewFile:
        """A new file, mode 0600, that gets the name when that is said."""
        return NewFile(self)


class NewFile:
    """A file that has no name yet, so that nothing is left of it whatever ends the process; where a filesystem cannot
    do that, it has one that ends in ``.part``.

    :ivar fd: to write to; not closed here.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._part: str | None = None
        try:
            self.fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=place.directory)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
            self._part = _part_of(place.name)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self.fd = os.open(self._part, flags, 0o600, dir_fd=place.directory)

    def publish(self) -> None:
        """Give it the name, in place of whatever file has it."""
        directory, name = self._place.directory, self._place.name
        if self._part is None:
            source = f"/proc/self/fd/{self.fd}"
            if self._place.status is None:
                with suppress(
                    FileExistsError
                ):  # somebody has made one meanwhile: it is replaced, as any other
                    os.link(source, name, dst_dir_fd=directory, follow_symlinks=True)
                    return
            self._part = _part_of(name)
            os.link(source, self._part, dst_dir_fd=directory, follow_symlinks=True)
        os.replace(self._part, name, src_dir_fd=directory, dst_dir_fd=directory)
        self._part = None

    def discard(self) -> None:
        """Leave nothing of it, if it did not get the name."""
        if self._part is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=self._place.directory)


def _part_of(name: str) -> str:
    return f".{name[:_MAX_NAME]}.{os.urandom(4).hex()}.part"


def find_place(path: Path) -> Place:
    """Walk to where a path leads.

    :raises OSError: if a directory of it is not there, or a link, pipe or socket on it is another user's
    """
    directory = os.open("/" if path.is_absolute() else ".", _WALKED | os.O_DIRECTORY)
    below, links = _parts(path), 0
    try:
        while True:
            name, *below = below or ["."]
            try:
                status: os.stat_result | None = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                if below:
                    raise
                status = None
            if status is not None and stat.S_ISLNK(status.st_mode):
                if is_foreign(status.st_uid):
                    raise PermissionError(errno.EPERM, "there is a symbolic link of another user", str(path))
                if not below and _is_own_stream(directory):
                    return Place(path, directory, name, os.stat(name, dir_fd=directory), own_stream=True)
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
                target = Path(os.readlink(name, dir_fd=directory))
                below = [*_parts(target), *below]
                if target.is_absolute():
                    directory = _step(directory, "/")
                continue
            if not below:
                if status is not None:
                    _check_kind(status, path)
                return Place(path, directory, name, status)
            directory = _step(directory, name)
    except BaseException:
        os.close(directory)
        raise


def _parts(path: Path) -> list[str]:
    return [part for part in path.parts if part != path.anchor]


def _step(directory: int, name: str) -> int:
    """A descriptor of a directory in another, which is closed."""
    fd = os.open(name, _WALKED | os.O_DIRECTORY, dir_fd=directory)
    os.close(directory)
    return fd


def _is_own_stream(directory: int) -> bool:
    """Whether a directory is that of this process's descriptors: what is in it are no links that could be read."""
    own = _OWN_STREAMS.stat()
    status = os.fstat(directory)
    return (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino)


def _check_kind(status: os.stat_result, path: Path) -> None:
    """:raises PermissionError: for what somebody else listens at"""
    for test, what in ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket")):
        if test(status.st_mode) and is_foreign(status.st_uid):
            raise PermissionError(errno.EPERM, f"it is a {what} of another user", str(path))


@contextmanager
def naming(place: Place) -> Iterator[int]:
    """A descriptor of a new file that takes the name at the end of the block, and stays open; closed, if that fails."""
    new = place.create()
    try:
        yield new.fd
        new.publish()
    except BaseException:
        os.close(new.fd)
        new.discard()
        raise


@contextmanager
def replacing(place: Place, *, at_once: bool = False) -> Iterator[BinaryIO]:
    """A new file that takes the name when all of it is on the disk, and leaves nothing if it fails.

    :param at_once: it takes the name now, and keeps it
    :raises OSError: for anything the operating system refuses, a full disk included
    """
    new = place.create()
    try:
        with os.fdopen(new.fd, "wb") as file:
            if at_once:
                new.publish()
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not at_once:
                new.publish()
    finally:
        new.discard()
