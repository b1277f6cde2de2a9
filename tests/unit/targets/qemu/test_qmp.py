"""QMP: a socket that is not what it should be must end in one line, and soon."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from explorer.targets.errors import TargetError
from explorer.targets.qemu import attach as qemu
from explorer.targets.qemu import qmp
from explorer.targets.qemu.qmp import QmpConnection, connect, parse_ram_ranges, parse_xp
from explorer.targets.spec import no_progress

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
            # A client that has hung up has heard enough.
            with server, client, client.makefile("rb") as lines, contextlib.suppress(BrokenPipeError):
                for reply in replies:
                    client.sendall(reply)
                    lines.readline()

        threading.Thread(target=run, daemon=True).start()
        return str(path)

    return start


def test_events_between_replies_are_skipped(serve: Callable[..., str]) -> None:
    event = b'{"event": "STOP", "timestamp": {}}\r\n'
    address = serve(event.replace(event, GREETING), event + OK, event + b'{"return": {"running": false}}\n')
    with QmpConnection(address, 5) as guest:
        assert guest.execute("query-status") == {"running": False}
        assert not guest.over_tcp


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ((b"QEMU 7.2.0 monitor - type 'help'\r\n(qemu) ",), "-qmp, not -monitor"),
        ((b"[1, 2]\n",), "-qmp, not -monitor"),
        ((b'{"other": 1}\n',), "does not greet"),
        ((GREETING, b'{"error": {"class": "X", "desc": "no way"}}\n'), "no way"),
        ((GREETING, b"[" * 100_000 + b"\n"), "does not speak QMP"),
        ((GREETING,), "has ended or hung up"),
        ((b"",), "QEMU does not answer"),
    ],
)
def test_a_server_that_is_not_qmp_ends_in_one_line(
    serve: Callable[..., str], replies: tuple[bytes, ...], expected: str
) -> None:
    with pytest.raises(TargetError, match=expected) as caught:
        QmpConnection(serve(*replies), 0.5)
    assert "\n" not in str(caught.value)


def test_events_without_end_do_not_put_a_reply_off_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "_REPLY_TIMEOUT", 0.6)
    path, stopped = tmp_path / "qmp", threading.Event()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)

        def run() -> None:
            client, _ = server.accept()
            with client, contextlib.suppress(OSError):
                client.sendall(GREETING)
                while not stopped.wait(0.1):
                    client.sendall(b'{"event": "STOP"}\r\n')

        thread = threading.Thread(target=run)
        thread.start()
        with pytest.raises(TargetError, match="does not answer"):
            QmpConnection(str(path), 0.5)
        stopped.set()
        thread.join()


@pytest.mark.parametrize(
    "flood",
    [b'{"return": "' + b"x" * (2 << 20) + b'"}\n', b'{"return": [' + b"[]," * (1 << 20) + b"0]}\n"],
    ids=["text", "lists"],
)
def test_a_reply_of_megabytes_is_not_read_where_none_is_due(serve: Callable[..., str], flood: bytes) -> None:
    with (
        pytest.raises(TargetError, match="without end"),
        QmpConnection(serve(GREETING, OK, flood), 5) as guest,
    ):
        guest.execute("query-status")


def test_a_memory_tree_of_megabytes_is_read_and_gives_a_bounded_number_of_ranges(
    serve: Callable[..., str],
) -> None:
    lines = [f"  {at << 13:016x}-{(at << 13) + 4095:016x} (prio 0, ram): pc.ram" for at in range(30_000)]
    tree = "\n".join(["FlatView #0", ' AS "memory", root: system', *lines])
    with QmpConnection(serve(GREETING, OK, json.dumps({"return": tree}).encode() + b"\n"), 5) as guest:
        ranges = parse_ram_ranges(guest.monitor("info mtree -f"))
    assert len(tree) > 1 << 20
    assert ranges == [(at << 13, (at << 13) + 4096) for at in range(1024)]


def test_ram_beyond_what_any_machine_has_is_not_searched() -> None:
    tree = TREE.replace("0000000100000000-000000017fffffff", "0000000100000000-000fffffffffffff")
    assert parse_ram_ranges(tree) == [(0, 0xC3000), (0x100000, 0x80000000)]


class _Monitor:
    """The fault: a QEMU that shows nothing of its guest's memory, or takes its time."""

    over_tcp = True

    def __init__(self, data: bytes | None, seconds: float) -> None:
        self.reads, self._data, self._seconds = 0, data, seconds

    def read_physical(self, address: int, size: int) -> bytes | None:
        self.reads += 1
        time.sleep(self._seconds)
        return None if self._data is None else self._data * size


@pytest.mark.parametrize(
    ("data", "seconds", "expected"),
    [(None, 0.0, "shows nothing of the RAM"), (b"\0", 0.01, "no kernel found")],
)
def test_a_guest_of_terabytes_behind_a_monitor_is_not_searched_for_days(
    data: bytes | None, seconds: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_SEARCH_TIMEOUT", 0.4 if data else 60.0)
    monitor = _Monitor(data, seconds)
    with pytest.raises(TargetError, match=expected):
        qemu._search_slowly(cast("QmpConnection", monitor), [(0, 1 << 45)], "qemu:guest", no_progress)
    assert monitor.reads > 1


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
