"""What the screen and ``serve`` may do that somebody has started with sudo: no more than what they show takes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import SAMPLE
from tests.tui import test_terminal
from tests.tui.conftest import SAVED
from tests.tui.test_terminal import Terminal
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


def shown(monkeypatch: pytest.MonkeyPatch, *words: str | Path, **env: str) -> tuple[list[str], bool, bool]:
    """The rights of the screen by the time that it shows what it has read."""
    whole = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": _PATHS, "COLUMNS": "", "LINES": "", **env}
    whole.pop("XDG_CONFIG_HOME", None)
    monkeypatch.setattr(test_terminal, "environment", lambda home: whole)
    monkeypatch.setattr(test_terminal, "COMMAND", (python_for_all(), "-P", "-m", "explorer"))
    terminal = Terminal(Path("/"), *map(str, words))
    try:
        terminal.wait_for(b"ISOLATED")
        found = rights(terminal.pid)
        terminal.send(b"q")
        assert terminal.close() == 0
        assert b"not used" not in terminal.received
        return found
    finally:
        terminal.end()


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


def test_under_sudo_the_reader_of_a_dump_that_only_root_may_read_still_reads_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = copied(SAMPLE, home.parent / SAMPLE.name, 0o600)
    assert shown(monkeypatch, path, **SUDO)[:2] == (["0"] * 4, True)


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


def test_under_sudo_serve_is_the_callers_where_the_caller_may_read_what_it_shows(home: Path) -> None:
    pytest.importorskip("textual_serve")
    path = copied(SAVED, home.parent / SAVED.name, 0o644)
    with subprocess.Popen(
        [python_for_all(), "-P", "-m", "explorer", "serve", "--port", "0", path],
        env={**os.environ, "PYTHONPATH": _PATHS, **SUDO},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            url = server.stdout.readline()
            assert url.startswith("http://127.0.0.1:"), url
            assert rights(server.pid) == ([str(NOBODY)] * 4, False, False)
        finally:
            server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
