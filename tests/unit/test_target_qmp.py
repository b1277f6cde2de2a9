"""QMP: a socket that is not what it should be must end in one line, and soon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from explorer.target.errors import TargetError
from explorer.target.qmp import QmpConnection, connect, parse_ram_ranges, parse_xp

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
OK = b'{"return": {}}\r\n'
TREE = """FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000001000-0000000000001fff (prio 0, ram): not this view

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
  0000000000000000-00000000000c2fff (prio 0, ram): pc.ram
  00000000000c3000-00000000000e7fff (prio 0, rom): pc.ram @00000000000c3000
  0000000000100000-000000007fffffff (prio 0, ram): pc.ram @0000000000100000
  00000000b0000000-00000000bfffffff (prio 0, i/o): pcie-mmcfg-mmio
  0000000100000000-000000017fffffff (prio 0, nv-ram): pc.ram @0000000080000000

FlatView #2
 AS "cpu-smm-0", root: memory
  0000000000000000-000000000fffffff (prio 0, ram): pc.ram
"""


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., str]:
    """A socket whose server says the given lines: the first at once, then one for each line it gets."""

    def start(*replies: bytes) -> str:
        path = tmp_path / "qmp"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(1)

        def run() -> None:
            client, _ = server.accept()
            with server, client, client.makefile("rb") as lines:
                for reply in replies:
                    client.sendall(reply)
                    lines.readline()

        threading.Thread(target=run, daemon=True).start()
        return str(path)

    return start


def test_events_between_replies_are_skipped(serve: Callable[..., str]) -> None:
    event = b'{"event": "STOP", "timestamp": {}}\r\n'
    address = serve(event.replace(event, GREETING), event + OK, event + b'{"return": {"running": false}}\n')
    with QmpConnection(address, 5) as qmp:
        assert qmp.execute("query-status") == {"running": False}
        assert not qmp.over_tcp


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((b"QEMU 7.2.0 monitor - type 'help'\r\n(qemu) ",), "-qmp, not -monitor"),
        ((b"[1, 2]\n",), "-qmp, not -monitor"),
        ((b'{"other": 1}\n',), "does not greet"),
        ((GREETING, b'{"error": {"class": "X", "desc": "no way"}}\n'), "no way"),
        ((GREETING, b"[" * 100_000 + b"\n"), "does not speak QMP"),
        ((GREETING,), "closed the connection"),
        ((b"",), "QEMU does not answer"),
    ],
)
def test_a_server_that_is_not_qmp_ends_in_one_line(
    serve: Callable[..., str], replies: tuple[bytes, ...], expected: str
) -> None:
    with pytest.raises(TargetError, match=expected) as caught:
        QmpConnection(serve(*replies), 0.5)
    assert "\n" not in str(caught.value)


def test_a_socket_that_nobody_serves(tmp_path: Path) -> None:
    path = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
    with pytest.raises(TargetError, match="connection refused"):
        connect(str(path))
    with pytest.raises(TargetError, match="No such file"):
        connect(str(tmp_path / "missing"))
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(TargetError, match="not a socket"):
        connect(str(tmp_path / "file"))


def test_a_tcp_port_that_nobody_serves() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TargetError, match="connection refused"):
        connect(f"127.0.0.1:{port}")


def test_ram_is_read_from_the_view_of_the_memory_address_space() -> None:
    assert parse_ram_ranges(TREE) == [(0, 0xC3000), (0x100000, 0x80000000), (0x100000000, 0x180000000)]
    assert parse_ram_ranges("garbage\n" * 10) == []


def test_monitor_output_becomes_bytes() -> None:
    text = "0000000000001000: 0x0807060504030201 0x0000000000000009\r\n0000000000001010: 0xff\r\n"
    assert parse_xp(text) == bytes(range(1, 10)) + bytes(7) + b"\xff" + bytes(7)
    assert parse_xp("0000000000002000: 0x01 Cannot access memory\r\n") == b"\1" + bytes(7)
    assert parse_xp("") == b""
