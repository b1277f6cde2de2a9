"""The real program in a real terminal: what the terminal receives, resizing, ctrl+z, and how it is called."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from explorer.codec.snapshots import load_snapshot, write_json
from explorer.output.files import open_output
from tests.conftest import DATA, silent_qemu

from .conftest import SAVED

ROOT = DATA.parent.parent
COMMAND = (sys.executable, "-m", "explorer")
PATIENCE_S = 30.0
#: What Textual itself sends: CSI and OSC sequences, mode requests, charset and keypad switches.
SEQUENCES = re.compile(
    rb"\x1b\[[0-9:;<=>?]*[ -/]*[@-~]|\x1b\]22;[a-z]*\x07?(\x1b\\)?|\x1bP[^\x1b]*\x1b\\|\x1b[=>]|\x1b\([AB0]"
)
COPIED = re.compile(rb"\x1b\]52;c;[A-Za-z0-9+/=]*\x07")
_LAYOUT = frozenset(b"\n\r\t")


def assert_only_own_controls(received: bytes) -> str:
    """What is left of a terminal's bytes without Textual's sequences: no other control byte, and UTF-8."""
    rest = SEQUENCES.sub(b"", received)
    stray = [at for at, byte in enumerate(rest) if (byte < 0x20 or byte == 0x7F) and byte not in _LAYOUT]
    assert not stray, [rest[max(0, at - 60) : at + 40] for at in stray[:3]]
    return rest.decode("utf-8")  # a stray byte 0x80 to 0x9f would not be UTF-8


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "TERM": "xterm-256color",
        "XDG_CONFIG_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "",
        "LINES": "",
    }


# -- a pty ---------------------------------------------------------------------------------------------------


class Terminal:
    """The master's side of a pty in which the app runs."""

    def __init__(self, home: Path, *args: str) -> None:
        self.received = b""
        self._ended = False
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(COMMAND[0], [*COMMAND, *args], environment(home))

    def wait_for(self, text: bytes) -> None:
        """Read until the terminal has been sent ``text`` since the last call."""
        start, deadline = len(self.received), time.monotonic() + PATIENCE_S
        while text not in self.received[start:]:
            assert time.monotonic() < deadline, (text, self.received[start:][-2000:])
            self.read(0.1)

    def read(self, seconds: float) -> bool:
        """Read what there is. False: the app has ended."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # EIO: the other side is closed
            return False
        self.received += data
        return bool(data)

    def send(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def close(self) -> int:
        """The app's exit code, after all that it still sends has been read."""
        deadline = time.monotonic() + PATIENCE_S
        while self.read(0.1):
            assert time.monotonic() < deadline, "the app does not end"
        _, status = os.waitpid(self.pid, 0)
        os.close(self._fd)
        self._ended = True
        return os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """Whatever the test came to: nothing of the app is left for those that follow."""
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._fd)


def test_a_large_snapshot_is_read_by_a_process_that_is_gone_when_it_is_shown(tmp_path: Path) -> None:
    large = load_snapshot(SAVED)
    large.log += ["x" * 1000] * 200
    saved = tmp_path / "large.json"
    with open_output(saved) as out:
        write_json(large, out)
    terminal = Terminal(tmp_path, str(saved))
    try:
        children, seen = Path(f"/proc/{terminal.pid}/task/{terminal.pid}/children"), ""
        while b"ISOLATED" not in terminal.received:
            assert terminal.read(0.001)
            seen += children.read_text()
        assert seen and not children.read_text()
        terminal.send(b"q")
        assert terminal.close() == 0
    finally:
        terminal.end()


def test_no_control_byte_of_a_hostile_name_reaches_the_terminal(tmp_path: Path) -> None:
    hostile = load_snapshot(SAVED)
    hostile.capture.source.target = "\x1b]0;gotcha\x07 \x1b[31mred\x9b1m"
    hostile.kernel.release = "7.3\x1b[2J\x08\u202e"
    saved = tmp_path / "hostile.json"
    with open_output(saved) as out:
        write_json(hostile, out)
    terminal = Terminal(tmp_path, str(saved))
    terminal.wait_for(b"ISOLATED")
    for key, sign in (
        (b"tv", b"FS_STRUCT"),
        (b"/", b"filter"),
        (b"hostile", b"of 112"),
        (b"\r", b"FS_STRUCT"),
        (b"jjjj", b"fs->pwd"),
        (b"f", b"HELD BY"),
        (b"m", b"MOUNTPOINT"),
        (b"c", b"copied"),
        (b"K", b"generation"),
    ):
        terminal.send(key)
        terminal.wait_for(sign)
    terminal.send(b"\x1b")
    terminal.wait_for(b"MOUNTPOINT")
    terminal.send(b"q")
    assert terminal.close() == 0
    assert COPIED.search(terminal.received)
    shown = assert_only_own_controls(COPIED.sub(b"", terminal.received))
    assert not [char for char in shown if 0x80 <= ord(char) <= 0x9F or char in "\u202e\u2028\u2029"]
    assert "\\e]0;gotcha\\x07" in shown and "\\e[31m[bold]evil" in shown


def test_the_app_is_what_opens_where_no_command_is_named(tmp_path: Path) -> None:
    for words in ((str(SAVED),), ("open", str(SAVED)), ("--no-cache", str(SAVED))):
        terminal = Terminal(tmp_path, *words)
        terminal.wait_for(b"ISOLATED")
        terminal.send(b"q")
        assert terminal.close() == 0, words


def test_alone_it_shows_the_live_kernel_or_says_what_is_missing_and_offers_the_sample(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    deadline = time.monotonic() + PATIENCE_S
    while b"open the sample" not in terminal.received and b"nullfs" not in terminal.received.lower():
        assert time.monotonic() < deadline
        terminal.read(0.1)
    if b"open the sample" in terminal.received:
        terminal.wait_for(b"running kernel")
        terminal.send(b"s")
        terminal.wait_for(b"ISOLATED")
    terminal.send(b"q")
    assert terminal.close() == 0


def test_escape_stops_a_reading_and_the_app_stays(tmp_path: Path) -> None:
    with silent_qemu(tmp_path) as target:
        terminal = Terminal(tmp_path, "open", target)
        terminal.wait_for(b"esc stops it")
        terminal.send(b"\x1b")
        terminal.wait_for(b"stopped, as you asked")
        terminal.send(b"q")
        assert terminal.close() == 0


def test_a_wrong_name_is_one_line_and_no_screen(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "no-such-file.elf")
    assert terminal.close() == 3
    assert b"no-such-file.elf" in terminal.received and b"\x1b[?1049h" not in terminal.received


def test_in_a_pipe_the_app_says_what_to_use_instead(tmp_path: Path) -> None:
    result = subprocess.run(
        [*COMMAND, "sample"], env=environment(tmp_path), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "needs a terminal" in result.stderr and "tasks" in result.stderr


# -- tmux ----------------------------------------------------------------------------------------------------


class Tmux:
    """A tmux server of our own with one pane."""

    def __init__(self, home: Path) -> None:
        self._socket = f"nullfs-explorer-{uuid.uuid4().hex[:8]}"
        self("-f", os.devnull, "new-session", "-d", "-x", "80", "-y", "24", "sh", env=environment(home))

    def __call__(self, *words: str, env: dict[str, str] | None = None) -> str:
        command = ["tmux", "-L", self._socket, *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    def keys(self, *keys: str) -> None:
        self("send-keys", *keys)

    def until(self, met: Callable[[str], bool]) -> str:
        """The screen, as soon as it is as it should be, and no longer being painted."""
        deadline = time.monotonic() + PATIENCE_S
        before = ""
        while not met(screen := self("capture-pane", "-p")) or screen != before:
            assert time.monotonic() < deadline, screen
            before = screen
            time.sleep(0.2)
        return screen


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.fail("tmux is missing: tests/host-tools.sh tmux installs it")
    server = Tmux(tmp_path)
    pane = int(server("display-message", "-p", "#{pane_pid}"))
    yield server
    os.kill(pane, signal.SIGKILL)


def test_the_program_lives_in_tmux_with_resize_and_suspend(tmux: Tmux) -> None:
    tmux.keys(f"cd {ROOT} && {' '.join(COMMAND)} {SAVED.relative_to(ROOT)}", "Enter")
    tmux.until(lambda screen: "ISOLATED" in screen and "q Quit" in screen)
    tmux.keys("t")
    tmux.until(lambda screen: "FS_STRUCT" in screen)
    tmux.keys("/")
    tmux.keys("-l", "kind:kthread")
    # Typed ahead: the j must not end up in the filter.
    tmux.keys("Enter", "j")
    narrow = tmux.until(lambda screen: "of 112 tasks" in screen and "task 2  kthreadd" in screen)
    assert "RUNS" not in narrow
    tmux("resize-window", "-x", "120", "-y", "36")
    wide = tmux.until(lambda screen: "RUNS" in screen and len(screen.splitlines()) == 36)
    assert "q Quit" in wide.splitlines()[-1]
    tmux("resize-window", "-x", "80", "-y", "24")
    before = tmux.until(lambda screen: "RUNS" not in screen and "q Quit" in screen)
    tmux.keys("C-z")
    tmux.until(lambda screen: "FS_STRUCT" not in screen)
    tmux.keys("fg", "Enter")
    after = tmux.until(lambda screen: "FS_STRUCT" in screen and "q Quit" in screen)
    assert after == before
    tmux.keys("q")
    tmux.until(lambda screen: "FS_STRUCT" not in screen)
