"""The harness's own end of QMP: one connection that stops, continues, dumps and ends a guest."""

from __future__ import annotations

import contextlib
import json
import socket
from pathlib import Path
from typing import Any

from tests.kernels.lab.errors import LabError

__all__ = ("Control",)

_MAX_LINE = 1 << 24
_MAX_EVENTS = 10_000


class Control:
    """A QMP connection; every command waits for its answer, events are passed over."""

    def __init__(self, path: Path, timeout_s: float = 600.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._file = self._socket.makefile("rb")
        self._receive()  # the greeting
        self.command("qmp_capabilities")

    def _receive(self) -> dict[str, Any]:
        line = self._file.readline(_MAX_LINE)
        if not line:
            raise LabError("QEMU closed its QMP connection")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise LabError(f"no QMP message: {line!r}")
        return message

    def command(self, name: str, **arguments: Any) -> Any:
        """Run one command and give what it returns.

        :raises LabError: QEMU refuses it, or is gone.
        """
        request: dict[str, Any] = {"execute": name}
        if arguments:
            request["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            for _ in range(_MAX_EVENTS):
                message = self._receive()
                if "error" in message:
                    raise LabError(f"QMP {name}: {message['error'].get('desc')}")
                if "return" in message:
                    return message["return"]
        except (OSError, ValueError) as error:
            raise LabError(f"QMP {name}: {error}") from error
        raise LabError(f"QMP {name}: nothing but events")

    def close(self) -> None:
        """Drop the connection; the guest goes on."""
        with contextlib.suppress(OSError):  # a command that a dead QEMU never took
            self._file.close()
        self._socket.close()
