"""Opening a file that a user named, by whoever reads files: stands below all layers and imports none of them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ("CHARACTER_DEVICE", "SOCKET", "NotRegularError", "open_regular")

CHARACTER_DEVICE = "a character device"
SOCKET = "a socket"
_NOT_A_FILE = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe; save its content to a file first"),
    (stat.S_ISCHR, CHARACTER_DEVICE),
    (stat.S_ISBLK, "a block device; save its content to a file first"),
)


class NotRegularError(Exception):
    """What a path names is no regular file; the message says what it is."""


def open_regular(path: Path) -> int:
    """Open a regular file for reading, without ever waiting for somebody at the other end of a pipe.

    :returns: its descriptor
    :raises NotRegularError: if it is something else
    :raises OSError: if it cannot be opened
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:  # open(2): of a device that is not there, too
            raise NotRegularError(SOCKET) from error
        raise
    try:
        mode = os.fstat(fd).st_mode
        for test, what in _NOT_A_FILE:
            if test(mode):
                raise NotRegularError(what)
    except BaseException:
        os.close(fd)
        raise
    return fd
