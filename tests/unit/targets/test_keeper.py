"""A keeper acts when the process that made it has ended in whatever way, and holds nothing of its open."""

from __future__ import annotations

import contextlib
import json
import os
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


def runs(pid: int) -> bool:
    """Whether it does anything: whoever it was left to may not have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class StandIn:
    """For QEMU, which serves one client at a time. It takes orders until a guest that was stopped runs on, and answers
    no question about its memory. :ivar told: the orders"""

    def __init__(self, path: Path) -> None:
        self.told: list[str] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(2)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while "cont" not in self.told:
            client, _ = self._server.accept()
            with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
                client.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
                for line in lines:
                    asked = json.loads(line)
                    self.told.append(asked["execute"])
                    if not asked["execute"].startswith("query-"):
                        client.sendall(json.dumps({"return": {}, "id": asked["id"]}).encode() + b"\r\n")

    def end(self) -> list[str]:
        """Wait for the last. :returns: the orders, but for what every client begins with"""
        self._thread.join(30)
        self._server.close()
        return [each for each in self.told if each != "qmp_capabilities"]


def test_a_guest_whose_recorder_was_killed_is_told_to_run_on(tmp_path: Path) -> None:
    qemu = StandIn(tmp_path / "qmp")
    code = (
        "import os, signal, sys\nfrom explorer.keeper import Keeper\n"
        "from explorer.targets.qemu import GuestControl, let_run_on\ncontrol = GuestControl(sys.argv[1])\n"
        "keeper = Keeper(lambda: let_run_on(sys.argv[1]))\ncontrol.settle()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(code, tmp_path / "qmp").returncode == -signal.SIGKILL
    assert qemu.end() == ["stop", "cont"]
    assert [path.name for path in tmp_path.iterdir()] == ["qmp"]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
@pytest.mark.parametrize("whom", ["reader", "watcher"])
def test_record_that_crashes_or_is_killed_leaves_the_guest_running_and_says_a_crash_in_a_line(
    tmp_path: Path, number: signal.Signals, whom: str
) -> None:
    """The command itself, while it waits for an answer of a guest that it has stopped."""
    qemu = StandIn(tmp_path / "qmp")
    address, output = str(tmp_path / "qmp"), str(tmp_path / "out.nxrec")
    started = subprocess.Popen(
        [sys.executable, "-m", "explorer", "record", "--qemu", address, "--control", address, "-o", output],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while "query-target" not in qemu.told and time.monotonic() < deadline:
        time.sleep(0.02)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]) if whom == "reader" else started.pid, number)
    _, said = started.communicate(timeout=60)
    assert qemu.end() == ["stop", "query-target", "cont"]
    if whom == "reader":
        (line,) = said.splitlines()
        assert f"the reader was ended by signal {number.name}, while it recorded" in line
    assert (started.returncode, "Traceback" in said) == (3 if whom == "reader" else -number, False)
    assert [path.name for path in tmp_path.iterdir()] == ["qmp"]
    assert not runs(int(children[0]))
