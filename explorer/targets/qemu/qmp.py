"""The QEMU Machine Protocol, as much of it as opening and reading a guest takes.

drgn speaks QMP itself, but waits for ever where nobody answers, and takes in whatever comes. This connection has
limits on both. QEMU serves one client per socket: one connection must be closed before the next, or go on where
drgn's ended.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
import time
from array import array
from collections import deque
from math import inf
from types import TracebackType
from typing import Any

from explorer.targets.errors import TargetError
from explorer.targets.qemu.sockets import reach

__all__ = ("ENDED", "QmpConnection", "connect", "parse_ram_ranges", "parse_xp")

#: What is said of one that is no longer there.
ENDED = "QEMU has ended or hung up"
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
#: Bytes of events, and of replies to other commands, while one reply is waited for: QEMU's events have some 200.
_MAX_NOISE = 4 << 20
#: Events that are kept, and bytes of each: the lists in a longer one could take 30 times its size.
_MAX_EVENTS = 1000
_MAX_EVENT = 2048
#: A reply that takes longer than ``_PROMPT`` seconds uses up patience, a faster one gives some back. A guest that is
#: saved or migrated keeps QEMU busy for seconds, but not at every reply.
_PROMPT = 1.0
_PATIENCE = 40.0
#: Characters of what QEMU says that go into an error.
_MAX_DETAIL = 500
#: ``struct ucred``: pid, uid, gid.
_CREDENTIALS = struct.Struct("3i")
_XP_BYTES = 32 << 10
_WORD_BYTES = 8
_MONITOR = "human-monitor-command"
_LINE_ADDRESS = re.compile(r"^[^:\n]*:", re.MULTILINE)
#: A word as ``xp /xg`` writes it: 0x and 16 digits.
_WORD = 18
_TREE_LINE = re.compile(r"\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?\d+, (?:nv-)?ram\)")


def connect(address: str, timeout: float = _TIMEOUT) -> socket.socket:
    """Connect to a QMP socket and wait for its greeting, which is left unread for whoever speaks first.

    Raises :class:`TargetError` if there is no such socket, nobody serves it, or it is busy with another
    client.
    """
    sock = reach(address, timeout)
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


class QmpConnection:
    """A client in command mode. Every failure is a :class:`TargetError`.

    :param over: a socket that is connected already; it is closed with this connection
    :param negotiated: on which somebody else has sent ``qmp_capabilities``, and got the reply
    """

    def __init__(
        self,
        address: str,
        timeout: float = _TIMEOUT,
        *,
        over: socket.socket | None = None,
        negotiated: bool = False,
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._buffer = bytearray()
        self._last_id = 0
        self._impatience = 0.0
        self._midway = negotiated
        self.events: deque[dict[str, Any]] = deque(maxlen=_MAX_EVENTS)
        """Events that arrived while a reply was waited for; the oldest first."""
        self._socket = connect(address, timeout) if over is None else over
        if negotiated:
            return
        try:
            if "QMP" not in self._receive()[0]:
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

    @property
    def peer(self) -> int:
        """The pid of the process at the other end of a unix socket, QEMU's; 0 if that is not known."""
        if self.over_tcp:
            return 0
        credentials = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(credentials)[0])

    def _broken(self, error: OSError) -> TargetError:
        """A QEMU that ends is noticed by whichever comes first, what is sent or what is awaited."""
        ended = isinstance(error, BrokenPipeError | ConnectionResetError)
        return TargetError(f"qemu:{self._address}: {ENDED if ended else error.strerror or error}")

    def execute(self, command: str, **arguments: object) -> Any:
        """Run a command and return what it returns.

        One that was interrupted while it waited (Ctrl-C) leaves a reply behind, which is not taken for a later one's.
        """
        self._last_id = number = self._last_id + 1
        request = {"execute": command, "id": number} | ({"arguments": arguments} if arguments else {})
        begin = time.monotonic()
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\r\n")
        except OSError as error:
            raise self._broken(error) from error
        try:
            reply = self._await_reply(command, number, begin + max(self._timeout, _REPLY_TIMEOUT))
        except TargetError:
            self.close()  # nothing that is asked later waits for it again
            raise
        self._impatience = max(self._impatience + time.monotonic() - begin - _PROMPT, 0.0)
        if self._impatience > _PATIENCE:
            self.close()
            raise TargetError(f"qemu:{self._address}: QEMU takes seconds for every reply (is it overloaded?)")
        if "return" in reply:
            return reply["return"]
        refusal = reply["error"]
        detail = str(refusal.get("desc") if isinstance(refusal, dict) else refusal)[:_MAX_DETAIL]
        raise TargetError(f"qemu:{self._address}: QEMU refuses {command}: {detail}")

    def _await_reply(self, command: str, number: int, deadline: float) -> dict[str, Any]:
        """The reply with that id, or with none; events before it are kept."""
        limit = _MAX_MONITOR if command == _MONITOR else _MAX_MESSAGE
        noise = 0
        for _ in range(_MAX_SKIPPED):
            reply, size = self._receive(deadline, limit)
            if reply.get("id", number) == number and ("return" in reply or "error" in reply):
                return reply
            noise += size
            if noise > _MAX_NOISE:
                break
            self._keep_event(reply, size)
        raise TargetError(f"qemu:{self._address}: no reply to {command}, only events")

    def _keep_event(self, message: dict[str, Any], size: int) -> None:
        if "event" in message and size <= _MAX_EVENT:
            self.events.append(message)

    def monitor(self, command: str) -> str:
        """Run a command of the human monitor and return its text."""
        text = self.execute(_MONITOR, **{"command-line": command})
        if not isinstance(text, str):
            raise TargetError(f"qemu:{self._address}: QEMU's monitor does not answer with text")
        return text

    def read_physical(self, address: int, size: int) -> bytes | None:
        """Guest memory through the monitor: slow, but it needs no rights on the process."""
        first, end = address & -_WORD_BYTES, address + size  # whole words do not reach into the next page
        parts = []
        for start in range(first, end, _XP_BYTES):
            words = -(-min(_XP_BYTES, end - start) // _WORD_BYTES)
            data = parse_xp(self.monitor(f"xp /{words}xg {start:#x}"))
            if len(data) < _WORD_BYTES * words:
                return None
            parts.append(data[: _WORD_BYTES * words])
        return b"".join(parts)[address - first :][:size]

    def _receive(self, deadline: float = inf, limit: int = _MAX_MESSAGE) -> tuple[dict[str, Any], int]:
        """The next message, and its size: one line of JSON, of at most ``limit`` bytes.

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
                raise self._broken(error) from error
            if not data:
                raise TargetError(f"qemu:{self._address}: {ENDED}")
            self._buffer += data
            if b"\n" not in data and len(self._buffer) > limit:
                raise TargetError(f"qemu:{self._address}: a message without end: not QMP")
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            # Where somebody else has listened before, the first line may be the end of an event.
            message = {} if self._midway else None
        self._midway = False
        if not isinstance(message, dict):
            raise TargetError(
                f"qemu:{self._address}: does not speak QMP; QEMU's option is -qmp, not -monitor"
            )
        return message, len(line)


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
    regular = text.split()
    del regular[::3]  # a line is an address and two words; the last one may be shorter
    whole = "".join(regular)
    if len(whole) == _WORD * len(regular) and whole.count("0x") == len(regular):
        with contextlib.suppress(ValueError):
            return _little_endian(bytes.fromhex(whole.replace("0x", "")))
    values = _LINE_ADDRESS.sub(" ", text).split()
    words = bytearray()
    for value in values:
        try:
            words += int(value, 16).to_bytes(8, "big")
        except (ValueError, OverflowError):
            break
    return _little_endian(bytes(words))


def _little_endian(words: bytes) -> bytes:
    """8-byte words that begin with their most significant byte, as x86 has them in memory."""
    swapped = array("Q", words)
    swapped.byteswap()
    return swapped.tobytes()
