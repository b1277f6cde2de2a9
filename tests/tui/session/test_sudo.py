"""Reading under sudo. A stand-in for sudo grants (or not) what only an administrator can; it runs the real reader."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from explorer.tui.screens.dialogs.problem import lacks_first
from tests.tui import test_terminal
from tests.tui.test_terminal import Terminal

#: Records how it is called, then does as it is told.
SUDO = """#!/bin/sh
echo "$*" >> "$SUDO_LOG"
case $1 in
-v) echo 'password of the stand-in:'; exit "$SUDO_ANSWER" ;;
-n) shift 2; exec "$@" ;;
esac
exit 1
"""
#: The app, as whoever is not root sees it.
APP = """
import os
os.geteuid = lambda: 1000
from explorer.tui.run import run_app
from explorer.tui.session.state import Session
raise SystemExit(run_app(Session(({target!r},{more}), guess=True, running=True)))
"""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in says how it was called."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "sudo").write_text(SUDO)
    (directory / "sudo").chmod(0o755)
    log = tmp_path / "sudo.log"
    monkeypatch.setenv("PATH", str(directory), prepend=":")
    monkeypatch.setenv("SUDO_LOG", str(log))
    monkeypatch.setenv("SUDO_ANSWER", "0")
    return log


def start(monkeypatch: pytest.MonkeyPatch, home: Path, target: str, more: str = "") -> Terminal:
    script = APP.format(target=target, more=more)
    monkeypatch.setattr(test_terminal, "COMMAND", (sys.executable, "-c", script))
    return Terminal(home)


def test_with_sudo_only_the_reader_runs_under_it_and_the_terminal_is_free_for_the_password(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = tmp_path / "later.elf"
    terminal = start(monkeypatch, tmp_path, str(later))
    terminal.wait_for(b"read it under sudo")
    later.symlink_to(test_terminal.ROOT / "explorer" / "samples" / "linux-7.3.elf.zst")
    terminal.send(b"u")
    terminal.wait_for(b"password of the stand-in")
    terminal.wait_for(b"ISOLATED")
    terminal.send(b"r")  # again, by the same road
    terminal.send(b"q")
    assert terminal.close() == 0
    calls = asked.read_text().splitlines()
    assert calls[0] == "-v"
    assert len(calls) >= 2
    for call in calls[1:]:
        assert call.startswith(f"-n -- {sys.executable} -P -m explorer snapshot ") and call.endswith(
            str(later)
        )


def test_sudo_that_says_no_is_said_on_the_screen_and_it_can_be_asked_again(
    asked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_ANSWER", "1")
    terminal = start(monkeypatch, tmp_path, str(tmp_path / "none.elf"))
    terminal.wait_for(b"read it under sudo")
    for _ in range(2):
        terminal.send(b"u")
        terminal.wait_for(b"did not let you")
    terminal.send(b"q")
    assert terminal.close() == 0
    assert asked.read_text().splitlines() == ["-v", "-v"]


def test_what_is_missing_stands_before_what_is_there() -> None:
    lines = [
        "nullfs-explorer 0.1.0",
        "  ok    running kernel  Linux",
        "  lack  root            no",
        "                        live: run under sudo",
        "  ok    BTF             yes",
        "  lack  kcore           no",
    ]
    assert lacks_first(lines) == [
        "Missing here:",
        lines[2],
        lines[3],
        lines[5],
        "",
        "There is:",
        lines[1],
        lines[4],
    ]
    assert lacks_first(lines[:2]) == ["There is:", lines[1]]
