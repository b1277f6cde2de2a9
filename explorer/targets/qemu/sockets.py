"""Connections to a guest's sockets; once the rights to make them are given up, another process makes them.

It is forked off before, knows which sockets these are, reads nothing of what comes from one, and can do next to nothing
else: it has the right to open others' files, and of the calls that :mod:`explorer.confine` denies those for sockets.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path

from explorer.confine import CONNECTS, DENIED, deny_calls
from explorer.keeper import stand_apart
from explorer.targets.errors import TargetError
from explorer.targets.privilege import drop_privileges

__all__ = ("hold_guest", "reach")

_MAX_MESSAGE = 1 << 12
_END_S, _LOOK_S = 2.0, 0.005
_connector: Connector | None = None


def hold_guest(*addresses: str) -> bool:
    """From here on :func:`reach` connects to these with the rights of this moment, to nothing else, and without being
    allowed to make sockets. Only while this process has one thread.

    :returns: whether QEMU's memory itself may be read: of a guest behind a socket of this machine's
    """
    global _connector
    if _connector is None:
        _connector = Connector()
    _connector.begin(addresses)
    return not all(map(_is_tcp, addresses))


def reach(address: str, timeout: float) -> socket.socket:
    """A connection to a path, or ``host:port``. :raises TargetError: if there is none to be had"""
    return _open_socket(address, timeout) if _connector is None else _connector.ask(address, timeout)


class Connector:
    """This process's ends of the lines to those who connect, by address: a diff has two guests."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[socket.socket, int]] = {}

    def begin(self, addresses: tuple[str, ...]) -> None:
        """Fork one off for these."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            try:
                stand_apart(theirs.fileno())
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
                    signal.signal(number, signal.SIG_IGN)  # it ends with whoever asks
                drop_privileges(keep_files=True)
                deny_calls(set(DENIED) - CONNECTS)
                _serve(theirs, addresses)
            finally:
                os._exit(0)  # whatever was raised: this process has no other business
        theirs.close()
        self._lines |= dict.fromkeys(addresses, (ours, pid))
        atexit.register(_hang_up, ours, pid)

    def ask(self, address: str, timeout: float) -> socket.socket:
        """As :func:`reach`."""
        if address not in self._lines:
            raise TargetError(f"qemu:{address}: the right to connect to it has been given up")
        line, _ = self._lines[address]
        said = b""
        found: list[int] = []
        with suppress(OSError):  # it has been ended
            line.send(f"{timeout} {address}".encode("utf-8", "surrogateescape"))
            said, found, _, _ = socket.recv_fds(line, _MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        if found:
            return socket.socket(fileno=found[0])
        raise TargetError(
            said.decode("utf-8", "surrogateescape")
            or f"qemu:{address}: the process that connects to it has ended"
        )


def _serve(line: socket.socket, addresses: tuple[str, ...]) -> None:
    """Until nobody is left who could ask."""
    while message := line.recv(_MAX_MESSAGE):
        timeout, _, address = message.decode("utf-8", "surrogateescape").partition(" ")
        if address not in addresses:
            continue
        try:
            with _open_socket(address, float(timeout)) as found:
                socket.send_fds(line, [b"+"], [found.fileno()])
        except TargetError as error:
            line.send(str(error).encode("utf-8", "surrogateescape")[:_MAX_MESSAGE])


def _hang_up(line: socket.socket, pid: int) -> None:
    """Whoever shares the line shares its end, too."""
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
    line.close()
    deadline = time.monotonic() + _END_S
    with suppress(ChildProcessError):  # it is another process's child
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)


def _is_tcp(address: str) -> bool:
    _, _, port = address.rpartition(":")
    is_number = port.isascii() and port.isdigit()
    return is_number and not address.startswith(("/", ".")) and not Path(address).exists()


def _open_socket(address: str, timeout: float) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        if _is_tcp(address):
            return socket.create_connection((host.strip("[]") or "localhost", int(port)), timeout)
        _check_socket(Path(address))
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(timeout)
        sock.connect(address)
    except OSError as error:
        raise TargetError(_connect_error(address, error)) from error
    except (ValueError, OverflowError) as error:  # a NUL, a host name that cannot be one, a port above 65535
        raise TargetError(f"qemu:{address}: neither a socket nor HOST:PORT") from error
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
