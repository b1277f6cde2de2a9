"""A QMP server that means harm, or hangs: drgn's own client has no limits, so it is watched, and asked for little."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import drgn
import pytest

from explorer.targets import watchdog
from explorer.targets.errors import TargetError
from explorer.targets.qemu import attach as qemu
from explorer.targets.qemu import qmp
from explorer.targets.qemu.attach import attach_qemu, query_guest
from explorer.targets.qemu.qmp import QmpConnection
from explorer.targets.watchdog import hang_up_in_time

GREETING = b'{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}\r\n'
TREE = (
    'FlatView #0\n AS "memory", root: system\n Root memory region: system\n'
    "  0000000000000000-000000000000ffff (prio 0, ram): pc.ram\n"
)
MEMORY = bytes(range(256)) * 256
EVENT = b'{"event": "X"}\r\n'

Attack = Callable[[socket.socket], None]


def _flood(client: socket.socket) -> None:
    while True:
        client.sendall(EVENT * 4096)


def _endless(client: socket.socket) -> None:
    client.sendall(b'{"return": "')
    while True:
        client.sendall(b"x" * 65536)


def _silent(client: socket.socket) -> None:
    client.recv(1)
    threading.Event().wait(60)


class Server:
    """As much of QEMU as attaching takes, over memory of 64 KiB; what it is asked, it notes."""

    def __init__(self, listening: socket.socket, attack: Attack | None = None) -> None:
        self.asked: list[str] = []
        #: What it does in place of the reply to a ``qmp_capabilities``.
        self._attack = attack
        self._listening = listening
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                # A client that hangs up in the middle of an attack is what is wanted.
                with client, contextlib.suppress(OSError), client.makefile("rb") as lines:
                    client.sendall(GREETING)
                    for line in lines:
                        self._answer(client, json.loads(line))

    def _answer(self, client: socket.socket, request: dict[str, Any]) -> None:
        if self._attack is not None:
            self._attack(client)
        result: object = {}
        if request["execute"] == "query-target":
            result = {"arch": "x86_64"}
        elif request["execute"] == "human-monitor-command":
            result = self._monitor(request["arguments"]["command-line"])
        reply = {"return": result} | ({"id": request["id"]} if "id" in request else {})
        client.sendall(json.dumps(reply).encode() + b"\r\n")

    def _monitor(self, command: str) -> str:
        self.asked.append(command)
        if "mtree" in command:
            return TREE
        how, _, where = command.removeprefix("xp /").partition(" ")
        start, words = int(where, 16), int(how.removesuffix("xg"))
        if start >= len(MEMORY):
            return f"{start:016x}: Cannot access memory\r\n"
        lines = []
        for at in range(start, start + 8 * words, 16):
            values = (MEMORY[at + word : at + word + 8] for word in (0, 8) if at + word < start + 8 * words)
            shown = " ".join(f"0x{int.from_bytes(value, 'little'):016x}" for value in values)
            lines.append(f"{at:016x}: {shown}")
        return "\r\n".join(lines) + "\r\n"


@pytest.fixture
def unix_socket(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "qmp"))
        listening.listen(4)
        yield listening


@pytest.fixture
def tcp_socket() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(4)
        yield listening


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


@pytest.mark.timeout(120)
@pytest.mark.parametrize("attack", [_silent, _flood, _endless])
def test_a_server_that_drgn_would_listen_to_for_ever_is_hung_up_on(
    attack: Attack, unix_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = watchdog.hang_up_in_time
    monkeypatch.setattr(qemu, "hang_up_in_time", lambda sock, name: original(sock, name, 1.5, 0.5))
    Server(unix_socket, attack)
    children = _has_children()
    with pytest.raises(TargetError, match="QEMU does not answer as it should") as caught:
        attach_qemu(unix_socket.getsockname(), None)
    assert "\n" not in str(caught.value)
    assert _has_children() == children


def test_a_watchdog_leaves_alone_what_ends_in_time() -> None:
    one, other = socket.socketpair()
    with one, other:
        with hang_up_in_time(one, "qemu:guest"):
            one.sendall(b"request")
        other.sendall(b"reply")
        assert (other.recv(10), one.recv(10)) == (b"request", b"reply")
        with pytest.raises(ValueError, match="its own"), hang_up_in_time(one, "qemu:guest"):
            raise ValueError("its own")
        one.sendall(b"still open")
        assert other.recv(20) == b"still open"


def test_memory_over_tcp_is_read_by_a_client_that_has_limits_not_by_drgn(tcp_socket: socket.socket) -> None:
    server = Server(tcp_socket)
    attached = attach_qemu(f"127.0.0.1:{tcp_socket.getsockname()[1]}", None)
    try:
        for address, count in ((0, 16), (3, 10), (4093, 7), (0x3FF1, 40_000), (0xFFF8, 8)):
            read = attached.prog.read(address, count, physical=True)
            assert read == MEMORY[address:][:count], (address, count)
        with pytest.raises(drgn.FaultError):
            attached.prog.read(0x10000, 8, physical=True)
        assert not attached.direct
    finally:
        attached.release()
    assert all(asked.startswith("xp /") and "xg " in asked for asked in server.asked)


def test_a_page_is_never_asked_for_with_a_word_of_the_next_one(tcp_socket: socket.socket) -> None:
    """Behind the last page of RAM, QEMU refuses the whole command."""
    server = Server(tcp_socket)
    with QmpConnection(f"127.0.0.1:{tcp_socket.getsockname()[1]}") as guest:
        assert guest.read_physical(0xFFFB, 5) == MEMORY[0xFFFB:0x10000]
    assert server.asked == ["xp /1xg 0xfff8"]


def _replies(listening: socket.socket, *replies: bytes) -> str:
    """Greet, and say one reply for each request."""

    def run() -> None:
        with contextlib.suppress(OSError):
            client, _ = listening.accept()
            with client, client.makefile("rb") as lines:
                client.sendall(GREETING)
                for reply in replies:
                    lines.readline()
                    client.sendall(reply)
                lines.read()

    threading.Thread(target=run, daemon=True).start()
    return f"127.0.0.1:{listening.getsockname()[1]}"


OK = b'{"return": {}}\n'


def test_events_of_megabytes_do_not_come_before_a_reply(tcp_socket: socket.socket) -> None:
    event = b'{"event": "X", "data": "' + b"y" * 100_000 + b'"}\n'
    with (
        QmpConnection(_replies(tcp_socket, OK, event * 60 + OK)) as guest,
        pytest.raises(TargetError, match="only events"),
    ):
        guest.execute("query-status")


def test_an_event_of_a_megabyte_is_not_kept(tcp_socket: socket.socket) -> None:
    events = b'{"event": "BIG", "data": [' + b"[]," * 200_000 + b"0]}\n" + b'{"event": "STOP"}\n'
    with QmpConnection(_replies(tcp_socket, OK, events + OK)) as guest:
        guest.execute("query-status")
        assert [event["event"] for event in guest.events] == ["STOP"]


def test_a_refusal_of_megabytes_is_one_short_line(tcp_socket: socket.socket) -> None:
    refusal = b'{"error": {"class": "X", "desc": "' + b"A" * 900_000 + b'"}}\n'
    with (
        QmpConnection(_replies(tcp_socket, OK, refusal)) as guest,
        pytest.raises(TargetError, match="refuses query-status") as caught,
    ):
        guest.execute("query-status")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "arch", [["\x1b[31m"] * 1000, {"a": 1}, "m" * 1_000_000, None], ids=["list", "object", "long", "null"]
)
def test_an_architecture_that_is_none_is_one_short_line(arch: object, tcp_socket: socket.socket) -> None:
    reply = json.dumps({"return": {"arch": arch}}).encode()[: 1 << 20] + b"\n"
    with (
        QmpConnection(_replies(tcp_socket, OK, reply)) as guest,
        pytest.raises(TargetError, match="only x86_64 is supported") as caught,
    ):
        query_guest(guest, "qemu:guest")
    assert len(str(caught.value)) < 200


def test_a_monitor_that_answers_with_a_list_is_refused(tcp_socket: socket.socket) -> None:
    with (
        QmpConnection(_replies(tcp_socket, OK, b'{"return": ["xp"]}\n')) as guest,
        pytest.raises(TargetError, match="does not answer with text"),
    ):
        guest.monitor("info mtree -f")


def test_a_server_that_takes_its_time_for_every_reply_is_not_waited_for_each_time(
    tcp_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "_PROMPT", -1.0)  # every reply is late by a second or more
    monkeypatch.setattr(qmp, "_PATIENCE", 9.5)
    with QmpConnection(_replies(tcp_socket, *[OK] * 30)) as guest:
        asked = 1  # qmp_capabilities
        with pytest.raises(TargetError, match="takes seconds for every reply"):
            while asked < 30:
                asked += 1
                guest.execute("query-status")
        assert asked == 10
        with pytest.raises(TargetError):
            guest.execute("query-status")


@pytest.mark.parametrize(
    "address",
    ["host\0name:4444", "x" * 300 + ":4444", "127.0.0.1:70000", "a\0b"],
    ids=["NUL", "long", "port", "path"],
)
def test_an_address_that_cannot_be_one_is_one_line(address: str) -> None:
    with pytest.raises(TargetError) as caught:
        qmp.connect(address)
    assert "\n" not in str(caught.value)
