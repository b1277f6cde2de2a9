"""The QEMU Machine Protocol, as much of it as opening a guest takes.

drgn speaks QMP itself, but waits for ever where nobody answers. This connection, with a time limit, comes
first: it learns what the guest is and whether it runs. QEMU serves one client per socket, so it must be
closed before drgn's.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import select
import socket
import stat
import struct
import time
from collections import deque
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any

from explorer.target.errors import TargetError

__all__ = ("QmpConnection", "connect", "parse_ram_ranges", "parse_xp")

_TIMEOUT = 5.0
#: Seconds until a reply must have come, whatever else QEMU says meanwhile.
_REPLY_TIMEOUT = 20.0
_MAX_MESSAGE = 1 << 20
#: What the monitor prints at most: a dump of ``_XP_BYTES``, or the memory tree of a guest with many devices.
_MAX_MONITOR = 4 << 20
#: Ranges of RAM, and where they must end: a guest of 64 TiB has a handful of them.
_MAX_RANGES = 1024
_MAX_ADDRESS = 1 << 46
_MAX_SKIPPED = 10_000
_MAX_EVENTS = 1000
_XP_BYTES = 32 << 10
_MONITOR = "human-monitor-command"
_TREE_LINE = re.compile(r"\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?\d+, (?:nv-)?ram\)")


def connect(address: str, timeout: float = _TIMEOUT) -> socket.socket:
    """Connect to a QMP socket and wait for its greeting, which is left unread for whoever speaks first.

    Raises :class:`TargetError` if there is no such socket, nobody serves it, or it is busy with another
    client.
    """
    host, _, port = address.rpartition(":")
    tcp = port.isdigit() and not address.startswith(("/", ".")) and not Path(address).exists()
    if not tcp:
        _check_socket(Path(address))
    try:
        if tcp:
            sock = socket.create_connection((host.strip("[]") or "localhost", int(port)), timeout)
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.settimeout(timeout)
            sock.connect(address)
    except OSError as error:
        raise TargetError(_connect_error(address, error)) from error
    if not select.select([sock], [], [], timeout)[0]:
        sock.close()
        raise TargetError(
            f"qemu:{address}: QEMU does not answer: another client holds this QMP socket "
            "(it serves one at a time; give QEMU a second -qmp), or QEMU is stopped"
        )
    # drgn's reads must not wait for ever on a QEMU that hangs.
    sock.settimeout(None)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 60, 0))
    return sock


def _check_socket(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise TargetError(
            f"qemu:{path}: {error.strerror} (QEMU makes it with -qmp unix:PATH,server=on,wait=off)"
        ) from error
    if not stat.S_ISSOCK(mode):
        raise TargetError(
            f"qemu:{path}: not a socket (QEMU makes one with -qmp unix:PATH,server=on,wait=off)"
        )


def _connect_error(address: str, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"qemu:{address}: no answer"
    if error.errno == errno.ECONNREFUSED:
        return f"qemu:{address}: connection refused: QEMU has ended, or its -qmp names another socket"
    if error.errno in (errno.EAGAIN, errno.EPROTOTYPE):
        return f"qemu:{address}: not a QMP socket, or busy with other clients"
    if error.errno == errno.EACCES:
        return f"qemu:{address}: permission denied: run as the user that QEMU runs as, or with sudo"
    return f"qemu:{address}: {error.strerror or error}"


class QmpConnection:
    """A client in command mode. Every failure is a :class:`TargetError`."""

    def __init__(self, address: str, timeout: float = _TIMEOUT) -> None:
        self._address = address
        self._timeout = timeout
        self._buffer = bytearray()
        self._last_id = 0
        self.events: deque[dict[str, Any]] = deque(maxlen=_MAX_EVENTS)
        """Events that arrived while a reply was waited for; the oldest first."""
        self._socket = connect(address, timeout)
        try:
            if "QMP" not in self._receive():
                raise TargetError(
                    f"qemu:{address}: does not greet as QMP does; QEMU's option is -qmp, not -monitor"
                )
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> QmpConnection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, so that QEMU takes the next client."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    @property
    def over_tcp(self) -> bool:
        """True if the connection is not a unix socket."""
        return self._socket.family != socket.AF_UNIX

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return what it returns.

        One that was interrupted while it waited (Ctrl-C) leaves a reply behind, which is not taken for a later one's.
        """
        self._last_id = number = self._last_id + 1
        request = {"execute": command, "id": number} | ({"arguments": arguments} if arguments else {})
        deadline = time.monotonic() + max(self._timeout, _REPLY_TIMEOUT)
        limit = _MAX_MONITOR if command == _MONITOR else _MAX_MESSAGE
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\r\n")
        except OSError as error:
            raise TargetError(f"qemu:{self._address}: {error.strerror or error}") from error
        for _ in range(_MAX_SKIPPED):
            reply = self._receive(deadline, limit)
            if reply.get("id", number) != number:
                continue
            if "return" in reply:
                return reply["return"]
            if "error" in reply:
                detail = reply["error"].get("desc") if isinstance(reply["error"], dict) else reply["error"]
                raise TargetError(f"qemu:{self._address}: QEMU refuses {command}: {detail}")
            if "event" in reply:
                self.events.append(reply)
        raise TargetError(f"qemu:{self._address}: no reply to {command}, only events")

    def monitor(self, command: str) -> str:
        """Run a command of the human monitor and return its text."""
        return str(self.execute(_MONITOR, **{"command-line": command}))

    def read_physical(self, address: int, size: int) -> bytes | None:
        """Guest memory through the monitor: slow, but it needs no rights on the process."""
        parts = []
        for start in range(address, address + size, _XP_BYTES):
            count = min(_XP_BYTES, address + size - start)
            data = parse_xp(self.monitor(f"xp /{(count + 7) // 8}xg {start:#x}"))
            if len(data) < count:
                return None
            parts.append(data[:count])
        return b"".join(parts)

    def _receive(self, deadline: float = inf, limit: int = _MAX_MESSAGE) -> dict[str, Any]:
        """The next message: one line of JSON, of at most ``limit`` bytes.

        :param deadline: when it must be there (``time.monotonic()``), if that is before the timeout
        """
        deadline = min(deadline, time.monotonic() + self._timeout)
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([self._socket], [], [], remaining)[0]:
                raise TargetError(f"qemu:{self._address}: QEMU does not answer (is it stopped?)")
            try:
                data = self._socket.recv(1 << 16)
            except OSError as error:
                raise TargetError(f"qemu:{self._address}: {error.strerror or error}") from error
            if not data:
                raise TargetError(f"qemu:{self._address}: QEMU closed the connection")
            self._buffer += data
            if b"\n" not in data and len(self._buffer) > limit:
                raise TargetError(f"qemu:{self._address}: a message without end: not QMP")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            raise TargetError(
                f"qemu:{self._address}: does not speak QMP; QEMU's option is -qmp, not -monitor"
            )
        return message


def parse_ram_ranges(tree: str) -> list[tuple[int, int]]:
    """(first, end) physical addresses of RAM, from ``info mtree -f``: the view with the space "memory".

    At most 1,024 of them, all below 64 TiB.
    """
    ranges: list[tuple[int, int]] = []
    wanted = False
    for line in tree.splitlines():
        if line.startswith("FlatView"):
            if ranges:
                break
            wanted = False
        elif line.lstrip().startswith('AS "memory"'):
            wanted = True
        elif wanted and (match := _TREE_LINE.match(line)) is not None:
            first, last = int(match[1], 16), int(match[2], 16)
            if first % 4096 == 0 and first < last < _MAX_ADDRESS and len(ranges) < _MAX_RANGES:
                ranges.append((first, last + 1))
    return ranges


def parse_xp(text: str) -> bytes:
    """The bytes in a reply to ``xp /Nxg``; what cannot be read ends it."""
    words = bytearray()
    for line in text.splitlines():
        _, _, values = line.partition(":")
        for value in values.split():
            try:
                words += int(value, 16).to_bytes(8, "little")
            except (ValueError, OverflowError):
                return bytes(words)
    return bytes(words)
