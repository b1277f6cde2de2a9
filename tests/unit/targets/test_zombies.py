"""In a container PID 1 inherits what a command leaves behind, and may be a program that reaps nobody."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DATA, FIXTURES, SAMPLE
from tests.crashing import crashing_plugin
from tests.signals import heed_signals

_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture
def inherits() -> Iterator[None]:
    """This process is what PID 1 is in a container: orphans become its children."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    assert prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) == 0


def started(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "explorer", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(DATA.parent.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )


def children() -> set[int]:
    """Pids of the children of this process, ended or not."""
    pids = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid():
            pids.add(int(path.parent.name))
    return pids


def left_behind(before: set[int]) -> set[int]:
    """Those that were not there before, and have not been reaped; they are reaped now."""
    pids = children() - before
    for pid in pids:
        os.waitpid(pid, 0)
    return pids


@pytest.mark.parametrize(
    "words",
    [
        ("tasks", SAMPLE),
        ("snapshot", SAMPLE),
        ("audit", SAMPLE),
        ("plugins", SAMPLE),
        ("diff", SAMPLE, FIXTURES["rfc-v1"]),
        ("slice", SAMPLE, "-o", "mini.elf"),
        ("doctor",),
        ("tasks", __file__),
    ],
    ids=lambda words: " ".join(map(str, words[:1])),
)
def test_a_command_leaves_no_zombie_to_a_process_that_reaps_nobody(
    inherits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str | Path, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = children()
    process = started(*words)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (0, 1, 3) and "fault of this program" not in said
    assert left_behind(before) == set()


@pytest.mark.parametrize("moment", ["collect", "audit"])
def test_a_reader_that_crashes_leaves_no_zombie_either(inherits: None, tmp_path: Path, moment: str) -> None:
    plugin = crashing_plugin(tmp_path, **{"collect": "pass", "audit": "pass", moment: "ctypes.string_at(0)"})
    before = children()
    process = started("audit", SAMPLE, "--plugin", plugin)
    _, said = process.communicate(timeout=120)
    assert process.returncode in (1, 3, 4) and "SIGSEGV" in said
    assert left_behind(before) == set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_told_to_end_waits_for_its_processes_first(
    inherits: None, tmp_path: Path, number: signal.Signals
) -> None:
    """As ``timeout`` does: the signal goes to the process that was started, and to no other."""
    told = tmp_path / "pid"
    waits = f"open({str(told)!r}, 'w').write('here'); time.sleep(600)"
    before = children()
    process = started("tasks", SAMPLE, "--plugin", crashing_plugin(tmp_path, waits))
    while not (told.exists() and told.read_text()):
        assert process.poll() is None, process.communicate()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (-number, "")
    assert left_behind(before) == set()


def test_a_reader_that_became_another_user_leaves_no_zombie_to_root(
    inherits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root without capabilities may signal no process of the caller's."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as sudo gives it")
    for name, value in (("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody")):
        monkeypatch.setenv(name, value)
    before = children()
    process = started("tasks", SAMPLE)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "")
    assert left_behind(before) == set()
