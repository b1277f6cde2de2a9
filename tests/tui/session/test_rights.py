"""What the screen and ``serve`` may do that somebody has started with sudo: no more than what they show takes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import SAMPLE
from tests.tui import test_terminal
from tests.tui.conftest import SAVED
from tests.tui.test_terminal import Terminal
from tests.tui.web.test_serve import connect
from tests.unit.targets.test_privilege_drop import (
    _PATHS,
    NOBODY,
    SUDO,
    as_root,
    home,
    python_for_all,
)

__all__ = ("home",)

pytestmark = as_root
_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def rights(pid: int) -> tuple[list[str], bool, bool]:
    """The users of a process, whether it has any capability or could get one, and whether it can gain rights."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    held = any(int(found[name], 16) for name in _CAPABILITIES)
    return found["Uid"].split(), held, found["NoNewPrivs"] == "0"


def copied(source: Path, path: Path, mode: int) -> Path:
    path.write_bytes(source.read_bytes())
    path.chmod(mode)
    return path


def opened(monkeypatch: pytest.MonkeyPatch, *words: str | Path, **env: str) -> Terminal:
    """The screen, as root starts it; it shows what it has read."""
    whole = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": _PATHS, "COLUMNS": "", "LINES": "", **env}
    whole.pop("XDG_CONFIG_HOME", None)
    monkeypatch.setattr(test_terminal, "environment", lambda home: whole)
    monkeypatch.setattr(test_terminal, "COMMAND", (python_for_all(), "-P", "-m", "explorer"))
    terminal = Terminal(Path("/"), *map(str, words))
    try:
        terminal.wait_for(b"ISOLATED")
    except BaseException:
        terminal.end()
        raise
    return terminal


def shown(monkeypatch: pytest.MonkeyPatch, *words: str | Path, **env: str) -> tuple[list[str], bool, bool]:
    """The rights of the screen by the time that it shows what it has read."""
    terminal = opened(monkeypatch, *words, **env)
    try:
        found = rights(terminal.pid)
        terminal.send(b"q")
        assert terminal.close() == 0
        assert b"not used" not in terminal.received
        return found
    finally:
        terminal.end()


def children(pid: int) -> list[int]:
    """Of its first thread, which forks."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_there(pid: int) -> bool:
    """A process that nobody has waited for yet is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10.0
    while any(map(is_there, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_there, pids))


@pytest.mark.parametrize("kind", ["vmcore", "snapshot"])
def test_under_sudo_a_screen_of_what_the_caller_may_read_is_the_callers(
    home: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = SAMPLE if kind == "vmcore" else SAVED
    path = copied(source, home.parent / source.name, 0o644)
    assert shown(monkeypatch, path, **SUDO) == ([str(NOBODY)] * 4, False, False)
    assert shown(monkeypatch, path)[:2] == (["0"] * 4, True)


def test_under_sudo_a_screen_of_a_snapshot_that_only_root_may_read_has_no_capability(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(SAVED, home.parent / SAVED.name, 0o600)
    assert shown(monkeypatch, path, **SUDO) == (["0"] * 4, False, False)


def test_under_sudo_a_screen_of_a_dump_that_only_root_may_read_is_the_callers_and_reads_it_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(SAMPLE, home.parent / SAMPLE.name, 0o600)
    terminal = opened(monkeypatch, path, **SUDO)
    try:
        assert rights(terminal.pid) == ([str(NOBODY)] * 4, False, False)
        (starter,) = children(terminal.pid)
        assert rights(starter)[:2] == (["0"] * 4, True)
        held = sorted(str(fd.readlink()).partition(":")[0] for fd in Path(f"/proc/{starter}/fd").iterdir())
        assert held == ["/dev/null"] * 3 + ["socket"]
        path.write_bytes(b"no dump any more")
        terminal.send(b"r")
        terminal.wait_for(b"neither an ELF")
        terminal.send(b"q")
        assert terminal.close() == 0
        assert gone([starter])
    finally:
        terminal.end()


def test_what_a_screen_that_became_the_caller_is_told_to_read_beside_is_read_as_the_caller(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(SAMPLE, home.parent / SAMPLE.name, 0o600)
    other = copied(SAVED, home.parent / "other.json", 0o600)
    terminal = opened(monkeypatch, path, **SUDO)
    try:
        terminal.send(b"=")
        terminal.wait_for(b"ompare")
        terminal.send(str(other).encode() + b"\r")
        terminal.wait_for(b"ermission")
    finally:
        terminal.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_a_screen_no_process_of_roots_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    path = copied(SAMPLE, home.parent / SAMPLE.name, 0o600)
    terminal = opened(monkeypatch, path, **SUDO)
    try:
        (starter,) = children(terminal.pid)
        terminal.send(b"r")
        deadline = time.monotonic() + 10.0
        while not (wardens := children(starter)) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert wardens
        readers = [reader for warden in wardens for reader in children(warden)]
        os.kill(terminal.pid, number)
        assert gone([starter, *wardens, *readers])
    finally:
        terminal.end()


@pytest.mark.parametrize("sudo", [False, True], ids=["root", "sudo"])
def test_no_reader_of_a_screen_that_became_the_caller_imports_an_installed_stranger(
    home: Path, monkeypatch: pytest.MonkeyPatch, sudo: bool
) -> None:
    about = home.parent / "site" / "evil-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[explorer.plugins]\nevil = evil_plugin\n")
    (about.parent / "evil_plugin.py").write_text(f"open({str(home / 'ran')!r}, 'w').close()\n")
    path = copied(SAMPLE, home.parent / SAMPLE.name, 0o644)
    shown(monkeypatch, path, PYTHONPATH=f"{_PATHS}:{about.parent}", **(SUDO if sudo else {}))
    assert (home / "ran").exists() is not sudo


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], tuple[int, str]]]:
    """Starts the server on behalf of nobody: its pid, and the address to open."""
    pytest.importorskip("textual_serve")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    with ExitStack() as stack:

        def start(path: Path) -> tuple[int, str]:
            server = stack.enter_context(
                subprocess.Popen(
                    [python_for_all(), "-P", "-m", "explorer", "serve", "--port", "0", path],
                    env={**os.environ, "PYTHONPATH": _PATHS, **SUDO},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            stack.callback(server.send_signal, signal.SIGTERM)
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), url
            return server.pid, url

        yield start


def test_under_sudo_serve_is_the_callers_where_the_caller_may_read_what_it_shows(
    home: Path, serve: Callable[[Path], tuple[int, str]]
) -> None:
    pid, _ = serve(copied(SAVED, home.parent / SAVED.name, 0o644))
    assert rights(pid) == ([str(NOBODY)] * 4, False, False)
    assert children(pid) == []


def test_under_sudo_serve_and_its_tabs_are_the_callers_also_where_only_root_may_read_what_they_show(
    home: Path, serve: Callable[[Path], tuple[int, str]]
) -> None:
    pid, url = serve(copied(SAMPLE, home.parent / SAMPLE.name, 0o600))
    assert rights(pid) == ([str(NOBODY)] * 4, False, False)
    (starter,) = children(pid)
    assert rights(starter)[:2] == (["0"] * 4, True)

    async def look() -> None:
        async with connect(url) as tab:
            received = b""
            while b"ISOLATED" not in received:
                received += (await asyncio.wait_for(tab.receive_bytes(), 30.0)).replace(b"\x1b", b"")
            (app,) = (each for each in children(pid) if each != starter)
            assert rights(app) == ([str(NOBODY)] * 4, False, False)

    asyncio.run(look())
    os.kill(pid, signal.SIGTERM)
    assert gone([pid, starter])
