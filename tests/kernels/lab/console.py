"""The guest's serial console: lines out of it, commands into it."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path

from tests.kernels.lab.errors import GuestDiedError, LabError

__all__ = ("Console",)

_MAX_LOG = 64 << 20


class Console:
    """Listens before QEMU starts, so that nothing of the boot is lost. ``log`` is everything that was printed."""

    def __init__(self, path: Path) -> None:
        self.log = bytearray()
        self._connection: socket.socket | None = None
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)

    def accept(self, timeout_s: float) -> bool:
        """Wait for QEMU to connect; False if it does not within ``timeout_s`` seconds."""
        self._listener.settimeout(timeout_s)
        try:
            self._connection, _ = self._listener.accept()
        except TimeoutError:
            return False
        return True

    def send(self, line: str) -> None:
        """Give the guest's init a command."""
        self.send_bytes(line.encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        """Send ``data`` as it is."""
        if self._connection is None:
            raise LabError("the console is not connected")
        self._connection.sendall(data)

    def read_until(self, pattern: bytes, timeout_s: float, start: int = 0) -> re.Match[bytes]:
        """Read until a whole line of the log from offset ``start`` on matches ``pattern``.

        :raises GuestDiedError: the console ended, or ``timeout_s`` seconds went by.
        """
        compiled = re.compile(rb"^" + pattern + rb"\r?\n", re.MULTILINE)
        deadline = time.monotonic() + timeout_s
        searched = start
        while True:
            match = compiled.search(self.log, searched)
            if match is not None:
                # the log goes on growing, which a match on the bytearray itself would forbid
                copied = compiled.search(bytes(self.log[match.start() : match.end()]))
                assert copied is not None
                return copied
            # a line that was only half there is searched again from its start
            searched = max(start, self.log.rfind(b"\n") + 1)
            self._read_some(deadline)

    def _read_some(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if self._connection is None or left <= 0:
            raise GuestDiedError(f"the guest said nothing more in time; its last words: {self.last_words()}")
        self.read_block(left)

    def read_block(self, timeout_s: float) -> bool:
        """Read what there is into the log; False: nothing came within ``timeout_s`` seconds.

        :raises GuestDiedError: the console ended
        """
        if self._connection is None:
            raise LabError("the console is not connected")
        self._connection.settimeout(timeout_s)
        try:
            block = self._connection.recv(1 << 16)
        except TimeoutError:
            return False
        except OSError as error:
            raise GuestDiedError(f"the guest's console broke: {error}") from error
        if not block:
            raise GuestDiedError(f"the guest ended; its last words: {self.last_words()}")
        self.log += block
        if len(self.log) > _MAX_LOG:
            raise LabError("the guest prints without end")
        return True

    def last_words(self, lines: int = 6) -> str:
        """The end of the log, in one line."""
        return " | ".join(bytes(self.log[-4096:]).decode(errors="backslashreplace").splitlines()[-lines:])

    def close(self) -> None:
        """Close both ends."""
        if self._connection is not None:
            self._connection.close()
        self._listener.close()
