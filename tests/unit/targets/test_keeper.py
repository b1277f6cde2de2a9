"""A keeper acts when the process that made it has ended in whatever way, and holds nothing of its open."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_MAKE = (
    "import os, signal, sys\nfrom pathlib import Path\nfrom explorer.keeper import Keeper\n"
    "keeper = Keeper(lambda: [str(Path(sys.argv[1]).write_text('kept') and 'left')])\n"
)


def run(code: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Waits for the end of its output: a keeper that held that open would be waited for."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def appears(path: Path) -> bool:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return path.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGSEGV])
def test_whatever_signal_ends_a_process_its_keeper_acts(tmp_path: Path, number: signal.Signals) -> None:
    ran = run(f"{_MAKE}os.kill(os.getpid(), {int(number)})", tmp_path / "kept")
    assert ran.returncode == -number and ran.stderr == ""
    assert appears(tmp_path / "kept")


def test_what_ends_the_processes_of_a_terminal_does_not_end_the_keeper(tmp_path: Path) -> None:
    ends = "".join(
        f"os.kill(keeper.pid, signal.{name})\n" for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
    )
    assert run(f"{_MAKE}{ends}os._exit(0)", tmp_path / "kept").returncode == 0
    assert appears(tmp_path / "kept")


def test_one_that_is_dismissed_does_nothing_and_one_that_is_called_says_what_is_left(tmp_path: Path) -> None:
    ran = run(f"{_MAKE}keeper.dismiss()\nprint(keeper.pid, keeper.call())", tmp_path / "kept")
    assert ran.stdout == "0 []\n" and not (tmp_path / "kept").exists(), ran.stderr
    ran = run(f"{_MAKE}print(keeper.call())", tmp_path / "kept")
    assert ran.stdout == "['left']\n" and (tmp_path / "kept").exists(), ran.stderr


def test_a_guest_whose_recorder_was_killed_is_told_to_run_on(tmp_path: Path) -> None:
    """A stand-in for QEMU, which serves one client at a time."""
    told: list[str] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "qmp"))
    server.listen(2)

    def serve() -> None:
        while "cont" not in told:
            client, _ = server.accept()
            with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
                client.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
                for line in lines:
                    asked = json.loads(line)
                    told.append(asked["execute"])
                    client.sendall(json.dumps({"return": {}, "id": asked["id"]}).encode() + b"\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    code = (
        "import os, signal, sys\nfrom explorer.keeper import Keeper\n"
        "from explorer.targets.qemu import GuestControl, let_run_on\ncontrol = GuestControl(sys.argv[1])\n"
        "keeper = Keeper(lambda: let_run_on(sys.argv[1]))\ncontrol.settle()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(code, tmp_path / "qmp").returncode == -signal.SIGKILL
    thread.join(30)
    server.close()
    assert [each for each in told if each != "qmp_capabilities"] == ["stop", "cont"]
    assert [path.name for path in tmp_path.iterdir()] == ["qmp"]
