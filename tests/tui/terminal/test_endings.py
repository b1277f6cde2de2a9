"""Whatever ends the app, or stops it: the terminal is as it was found, and the exit code says what it was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import silent_qemu
from tests.tui.conftest import SAVED
from tests.tui.pseudo_terminal import PATIENCE_S, PseudoTerminal

Start = Callable[..., PseudoTerminal]
#: Runs the command after a change to the program.
FAULTY = """
import explorer.tui.app as app
async def breaks(self, *_):
    raise {error}("on purpose")
app.ExplorerApp.on_event = breaks
from explorer.cli import main
main()
"""


#: Runs the command; it is continued in the moment before it stops.
CONTINUED = """
import os, signal
from explorer.tui.terminal.driver import TerminalDriver
stop = TerminalDriver._stop
def stop_late(self):
    os.kill(os.getpid(), signal.SIGCONT)
    stop(self)
TerminalDriver._stop = stop_late
from explorer.cli import main
main()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the app, and wait for its first screen."""
    started: list[PseudoTerminal] = []

    def begin(*words: str, sign: bytes = b"ISOLATED", **options: object) -> PseudoTerminal:
        terminal = PseudoTerminal(tmp_path, *(words or (str(SAVED),)), **options)  # type: ignore[arg-type]
        started.append(terminal)
        terminal.until(sign, 0)
        return terminal

    yield begin
    for terminal in started:
        terminal.close()


def assert_as_found(terminal: PseudoTerminal) -> None:
    assert terminal.differences() == []
    assert b"Traceback" not in terminal.received


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def wait_until(met: Callable[[], bool], terminal: PseudoTerminal) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < deadline
        terminal.read(0.05)


def test_the_check_itself_sees_a_terminal_that_is_not_as_it_was_found(start: Start) -> None:
    terminal = start()
    terminal.send(b"S")
    terminal.until(b"mouse off")
    os.kill(terminal.process.pid, signal.SIGKILL)  # of which no process can do anything
    assert terminal.ended() == -signal.SIGKILL
    left = " ".join(terminal.differences())
    for what in ("mode 1049 on", "mode 25 off", "mode 2004 on", "mode 7 off", "kitty", "attributes 3"):
        assert what in left
    assert "1000" not in left


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGABRT,
        signal.SIGUSR1,
        signal.SIGXCPU,
    ],
)
def test_a_signal_ends_it_as_that_signal_does_and_leaves_nothing_behind(
    start: Start, number: signal.Signals
) -> None:
    terminal = start()
    terminal.send(b"t")
    terminal.until(b"FS_STRUCT")
    terminal.process.send_signal(number)
    assert terminal.ended() == -number
    assert_as_found(terminal)


def test_a_signal_while_a_target_is_read_ends_the_reader_too(start: Start, tmp_path: Path) -> None:
    with silent_qemu(tmp_path) as target:
        terminal = start("open", target, sign=b"esc stops it")
        pid = terminal.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ended() == -signal.SIGTERM
        assert_as_found(terminal)
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), terminal)


def test_a_terminal_that_is_closed_ends_it(start: Start) -> None:
    terminal = start()
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE_S) == -signal.SIGHUP


def test_under_nohup_the_signal_is_ignored_and_a_terminal_that_is_gone_is_the_end_all_the_same(
    start: Start,
) -> None:
    terminal = start(ignored=(signal.SIGHUP,))
    terminal.process.send_signal(signal.SIGHUP)
    terminal.send(b"t")
    terminal.until(b"FS_STRUCT")
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE_S) == -signal.SIGHUP


def test_stopped_from_outside_the_terminal_is_as_it_was_found_and_then_the_apps_again(start: Start) -> None:
    terminal = start()
    pid = terminal.process.pid
    for by_key in (False, True):
        if by_key:
            terminal.send(b"\x1a")
        else:
            os.kill(pid, signal.SIGTSTP)
        wait_until(lambda: state_of(pid) == "T", terminal)
        terminal.read(0.1)
        assert_as_found(terminal)
        os.kill(pid, signal.SIGCONT)
        terminal.until(b"ISOLATED")
        assert "mode 1049 on" in terminal.differences()
    terminal.send(b"q")
    assert terminal.ended() == 0
    assert_as_found(terminal)


def test_frozen_and_thawed_without_a_word_it_still_knows_how_the_terminal_was_found(start: Start) -> None:
    terminal = start()
    pid = terminal.process.pid
    for _ in range(2):
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: state_of(pid) == "T", terminal)
        os.kill(pid, signal.SIGCONT)
        terminal.until(b"ISOLATED")  # drawn anew: a shell may have written over it
    terminal.send(b"q")
    assert terminal.ended() == 0
    assert_as_found(terminal)


def test_a_stop_that_is_taken_back_before_it_was_made_does_not_leave_it_standing(start: Start) -> None:
    terminal = start()
    for _ in range(20):
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.read(0.01)
    terminal.send(b"t")
    terminal.until(b"FS_STRUCT")
    terminal.send(b"q")
    assert terminal.ended() == 0
    assert_as_found(terminal)


def test_a_continuation_that_comes_in_the_moment_before_it_stops_does_not_leave_it_standing(
    start: Start,
) -> None:
    terminal = start(python=("-c", CONTINUED))
    for _ in range(3):
        start_at = len(terminal.received)
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.until(b"\x1b[?1049l", start_at)
        terminal.until(b"ISOLATED", terminal.received.index(b"\x1b[?1049l", start_at))
    terminal.send(b"q")
    assert terminal.ended() == 0
    assert_as_found(terminal)


def test_many_signals_at_once_end_it_once(start: Start) -> None:
    terminal = start()
    for number in (
        signal.SIGTSTP,
        signal.SIGCONT,
        signal.SIGHUP,
        signal.SIGCONT,
        signal.SIGTERM,
        signal.SIGWINCH,
    ):
        terminal.process.send_signal(number)
    assert terminal.ended() in (-signal.SIGHUP, -signal.SIGTERM)
    assert_as_found(terminal)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "insisted"])
def test_a_terminal_that_takes_nothing_does_not_keep_a_signal_from_ending_it_and_is_as_it_was_found(
    start: Start, times: int
) -> None:
    """What the app has drawn is in the way of what gives the terminal back."""
    terminal = start(size=(250, 80))
    deadline = time.monotonic() + PATIENCE_S
    while terminal.takes_more():  # pages are turned, and nobody reads what is drawn
        assert time.monotonic() < deadline
        terminal.resize(250 + int(time.monotonic() * 10) % 40, 80)
        with suppress(BlockingIOError):
            os.write(terminal.master, b"tfms")
        time.sleep(0.5)  # it paints when it has nothing else to do
    for _ in range(times):
        terminal.process.send_signal(signal.SIGTERM)
        time.sleep(2)
    assert terminal.process.wait(PATIENCE_S) == -signal.SIGTERM
    terminal.read(0.5)
    assert_as_found(terminal)


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "KeyboardInterrupt", "MemoryError"])
def test_a_fault_that_ends_it_leaves_the_terminal_as_it_was_found(
    start: Start, tmp_path: Path, error: str
) -> None:
    terminal = PseudoTerminal(tmp_path, str(SAVED), python=("-c", FAULTY.format(error=error)))
    try:
        while terminal.process.poll() is None and b"\x1b[?1049l" not in terminal.received:
            terminal.send(b"jj")
            terminal.read(0.05)
        code = terminal.ended()
        assert terminal.differences() == []
        assert code == {"RuntimeError": 3, "MemoryError": 3, "KeyboardInterrupt": 130, "SystemExit": 1}[error]
    finally:
        terminal.close()


def test_what_stderr_is_does_not_matter_to_the_screen(start: Start, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        terminal = start(stderr=log.fileno())
        terminal.send(b"q")
        assert terminal.ended() == 0
    assert_as_found(terminal)
    assert (tmp_path / "log").read_bytes() == b""


def test_a_window_of_an_absurd_size_is_drawn_as_far_as_anyone_could_see_it(start: Start) -> None:
    terminal = start()
    for size in ((1, 1), (65535, 65535)):
        terminal.resize(*size)
        terminal.read(0.3)
    terminal.resize(80, 24)
    terminal.send(b"t")
    terminal.until(b"FS_STRUCT")
    terminal.send(b"q")
    assert terminal.ended() == 0
    assert_as_found(terminal)


def test_bytes_that_are_no_text_and_no_keys_leave_it_working(start: Start) -> None:
    terminal = start()
    terminal.send(b"t\xff\xe9\x1b[M \xff\xff\x1b[M@\xc3\xa9\x1b[1114112u\x1b[48;0;0;0;0t\x1b[<0;5;5M\xf0\x9f")
    terminal.until(b"FS_STRUCT")
    terminal.send(b"m")
    terminal.until(b"MOUNTPOINT")
    terminal.send(b"q")
    assert terminal.ended() == 0
    assert_as_found(terminal)
