"""What can be read only once: a pipe is put into a nameless temporary file, which is read in its place.

A pipe may be one of this process's (``-``, ``/dev/stdin``, ``<(zcat ...)`` of a shell) or a FIFO with a name. One to
which nobody writes, that falls silent, or that never ends, is refused.
"""

from __future__ import annotations

import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

from explorer.targets.dumps.containers import Format, Unpacked, disk_error, sniff
from explorer.targets.errors import TargetError

__all__ = ("readable_path",)

_STDIN = "-"
_STDIN_FD = 0
#: For a writer of a FIFO to open it: its shell may be starting it just now.
_WRITER_S = 1.0
_SILENCE_S = 60.0
_MOST = 64 << 30
#: A snapshot is not read beyond so much either.
_MOST_SNAPSHOT = 1 << 30
_HEAD = 4096
_PIECE = 1 << 20
#: A pipe is empty once it has been read: what was in it stays open as long as this process.
_spooled: dict[str, Path] = {}


def readable_path(text: str, *, raw: bool = False, silence_s: float = _SILENCE_S) -> Path:
    """The path of a file that can be opened again and again, with the content of what ``text`` names.

    :param raw: any content will do; else no more is read of what begins like no format that is known
    :raises TargetError: if it is a pipe that gives nothing to read
    """
    if text in _spooled:
        return _spooled[text]
    fd = _open_stream(text)
    if fd is None:
        return Path(f"/proc/self/fd/{_STDIN_FD}" if text == _STDIN else text)
    try:
        path = _spooled[text] = _spool(fd, text, raw, silence_s)
    finally:
        os.close(fd)
    return path


def _open_stream(text: str) -> int | None:
    """The reading end of a pipe; ``None`` for what is none: whoever opens it says what it is."""
    if text == _STDIN:
        mode = os.fstat(_STDIN_FD).st_mode
        if stat.S_ISREG(mode):
            return None
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
            what = "a terminal" if os.isatty(_STDIN_FD) else "no file and no pipe"
            raise TargetError(
                f"-: standard input is {what}: pipe a dump or a snapshot into it, or name a file"
            )
        return os.dup(_STDIN_FD)
    try:
        if not stat.S_ISFIFO(Path(text).stat().st_mode):
            return None
        fd = os.open(text, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):  # said by whoever opens it
        return None
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd


def _spool(fd: int, name: str, raw: bool, silence_s: float) -> Path:
    head = b""
    read = _reader(fd, name, silence_s)
    while len(head) < _HEAD and (data := read()):
        head += data
    if not head:
        raise TargetError(f"{name}: a pipe that nobody writes to, or that ended before anything came")
    form = sniff(head[:_HEAD])
    most = _MOST_SNAPSHOT if form is Format.SNAPSHOT and not raw else _MOST
    spool = Unpacked(most, most)
    try:
        wanted = raw or form is not Format.UNKNOWN
        data = head
        while data:
            if not spool.write(data):
                raise TargetError(f"{name}: more than {most >> 30} GB from a pipe: save it to a file first")
            data = read() if wanted else b""
        spool.file.truncate(spool.size)
        # Opened again by this process alone, maybe as another user by then: the file has no name for anybody else.
        os.fchmod(spool.file.fileno(), 0o666)
        return Path(f"/proc/self/fd/{os.dup(spool.file.fileno())}")
    except OSError as error:
        raise disk_error(name, error) from error
    finally:
        spool.file.close()


def _reader(fd: int, name: str, silence_s: float) -> Callable[[], bytes]:
    """Reads what there is; ``b""`` at the end."""
    begin = time.monotonic()
    opened = os.get_blocking(fd)  # a FIFO that we opened ourselves is not: its writer may still be to come
    wait = opened

    def read() -> bytes:
        nonlocal opened, wait
        while True:
            # Not before the first read of a FIFO: poll(2) waits for the first who opens it to write.
            if wait and not select.select([fd], [], [], silence_s)[0]:
                raise TargetError(
                    f"{name}: a pipe from which nothing came for {silence_s:g} s: save it to a file first"
                )
            try:
                data = os.read(fd, _PIECE)
            except BlockingIOError:  # somebody has it open
                opened = wait = True
                continue
            except OSError as error:
                raise TargetError(f"{name}: {error.strerror}") from error
            if data or opened or time.monotonic() - begin > _WRITER_S:
                opened = True
                return data
            time.sleep(0.02)

    return read
