"""The QEMU that ``record --boot`` starts: as who, and with which rights; and what its recorder may still do.

What it is given to boot is no kernel: it runs for a second, and there is never one to be read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.unit.targets.test_privilege_drop import (
    _PATHS,
    NOBODY,
    SUDO,
    as_root,
    home,
    open_up,
    python_for_all,
)

__all__ = ("home",)

_PATIENCE_S = 30.0
_CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def qemu_below(pid: int) -> int | None:
    """QEMU, once it has been started by a descendant of this process."""
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        if b"qemu-system" in Path(f"/proc/{child}/cmdline").read_bytes().partition(b"\0")[0]:
            return child
        if (found := qemu_below(child)) is not None:
            return found
    return None


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
def test_qemu_is_started_by_nobody_more_than_the_caller_and_the_recorder_starts_nothing_else(
    home: Path, tmp_path: Path, caller: dict[str, str]
) -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("no QEMU here")
    kernel = tmp_path / "kernel"
    kernel.write_bytes(bytes(64 << 10))
    open_up(tmp_path)
    out = (home if caller else tmp_path) / "a.nxrec"
    words = ["record", "--boot", kernel, "--accel", "tcg", "-m", "64M", "--for", "2s", "-o", out]
    with subprocess.Popen(
        [python_for_all(), "-P", "-m", "explorer", *map(str, words)],
        cwd=home if caller else tmp_path,
        env={**os.environ, "PYTHONPATH": _PATHS, **caller},
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        deadline, qemu = time.monotonic() + _PATIENCE_S, None
        while not out.exists() and time.monotonic() < deadline and command.poll() is None:
            time.sleep(0.02)
        qemu = qemu_below(command.pid)
        assert qemu is not None, command.communicate()
        started, recorder = status_of(qemu), status_of(int(status_of(qemu)["PPid"]))
        said = command.communicate(timeout=_PATIENCE_S)[1]
    assert command.returncode == 1, said
    assert "0 of them readable" in said and "2 s were recorded" in said
    uid = str(NOBODY if caller else 0)
    for status in (started, recorder):
        assert status["Uid"].split() == [uid] * 4
        assert {int(status[name], 16) for name in _CAPABILITIES} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    # QEMU has the filter with which it was started; the recorder has another one since.
    assert int(recorder["Seccomp_filters"]) > int(started["Seccomp_filters"])
    assert not Path(f"/proc/{qemu}").exists()
