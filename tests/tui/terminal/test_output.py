"""A terminal that takes nothing, is gone, or is shared: what is written to it, and who waits for it."""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from typing import TextIO

import pytest

from explorer.tui.terminal import Output
from tests.tui.pseudo_terminal import PATIENCE_S

_LAST = "\x1b[0m"
_MUCH = "much that was drawn " * 100_000


@pytest.fixture
def terminal() -> Iterator[tuple[int, TextIO]]:
    """The side of the terminal, and the app's."""
    master, own = os.openpty()
    tty.setraw(own)
    with os.fdopen(own, "w", encoding="utf-8") as stream:
        yield master, stream
    os.close(master)


def draw(output: Output) -> None:
    output.write(_MUCH)
    output.flush()


def taken(master: int, seconds: float = 0.2) -> bytes:
    """All that the terminal has been sent, until nothing comes for so long."""
    received = b""
    while select.select([master], [], [], seconds)[0]:
        received += os.read(master, 1 << 16)
    return received


def is_full(stream: TextIO) -> bool:
    """Of a terminal that takes nothing, and has been sent what it holds."""
    return not select.select([], [stream], [], 0)[1]


@pytest.mark.parametrize("again", range(20))
def test_what_ends_it_is_written_though_a_thread_that_still_draws_takes_whatever_room_there_is(
    terminal: tuple[int, TextIO], again: int
) -> None:
    master, stream = terminal
    lost: list[int] = []
    output = Output(stream, _LAST, lambda: lost.append(1))
    drawing = threading.Thread(target=draw, args=(output,), daemon=True)
    drawing.start()
    until = time.monotonic() + PATIENCE_S
    while not is_full(stream):
        assert time.monotonic() < until
        time.sleep(0.01)
    flags = fcntl.fcntl(stream, fcntl.F_GETFL)
    output.write_instead("as it was found")
    drawing.join(PATIENCE_S)
    assert not drawing.is_alive()
    output.write("drawn too late")
    output.flush()
    assert fcntl.fcntl(stream, fcntl.F_GETFL) == flags
    received = taken(master)
    assert received.endswith(b"as it was found") and received.count(b"as it was found") == 1
    assert lost == []


def test_a_terminal_that_somebody_else_does_not_wait_for_is_sent_all_of_it(
    terminal: tuple[int, TextIO],
) -> None:
    master, stream = terminal
    lost: list[int] = []
    output = Output(stream, _LAST, lambda: lost.append(1))
    os.set_blocking(stream.fileno(), False)  # one who has it by the same opening
    drawing = threading.Thread(target=draw, args=(output,))
    drawing.start()
    received = taken(master, 1)
    drawing.join(PATIENCE_S)
    assert received.decode() == _MUCH
    assert lost == []


def test_a_terminal_that_is_gone_is_said_to_be_once_and_keeps_nobody_waiting() -> None:
    master, own = os.openpty()
    lost: list[int] = []
    with os.fdopen(own, "w", encoding="utf-8") as stream:
        output = Output(stream, _LAST, lambda: lost.append(1))
        os.close(master)
        for _ in range(3):
            output.write(_MUCH)
            output.flush()
    assert lost == [1]


def test_the_last_is_owed_until_it_has_been_written_and_no_longer(terminal: tuple[int, TextIO]) -> None:
    master, stream = terminal
    output = Output(stream, _LAST, lambda: None)
    assert not output.owes()
    output.will_have_last()
    output.write("a picture")
    output.flush()
    assert output.owes()
    output.write(f"given back{_LAST}")
    output.flush()
    assert not output.owes()
    assert taken(master) == f"a picturegiven back{_LAST}".encode()


def test_who_waited_for_the_picture_in_the_way_still_owes_the_last_while_it_is_written_instead(
    terminal: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main thread, which ends the process when nothing is owed, is let go before the terminal is given back."""
    master, stream = terminal
    output = Output(stream, _LAST, lambda: None)
    order: list[str] = []
    let_go = threading.Event()
    write = os.write

    def app() -> None:
        output.will_have_last()
        draw(output)
        output.write(_LAST)
        output.flush()
        let_go.set()
        if not output.owes():
            order.append("the process ends")

    def write_late(descriptor: int, data: bytes) -> int:
        if bytes(data) == b"as it was found":
            let_go.wait(PATIENCE_S)
            time.sleep(0.1)
            order.append("it is written")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", write_late)
    ending = threading.Thread(target=app, daemon=True)
    ending.start()
    until = time.monotonic() + PATIENCE_S
    while not is_full(stream):
        assert time.monotonic() < until
        time.sleep(0.01)
    output.write_instead("as it was found")
    ending.join(PATIENCE_S)
    assert order == ["it is written", "the process ends"]
    assert taken(master).endswith(b"as it was found")
