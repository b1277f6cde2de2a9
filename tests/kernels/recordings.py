"""Recordings of real boots: made as a user would, by the command."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.recording.reader import Recording
from tests.kernels.lab import Guest, GuestOptions
from tests.kernels.lab.rootimage import build_root_image
from tests.signals import heed_signals

__all__ = ("COMMAND", "UNTIL_SWITCHED", "await_frames", "boot_options", "record_guest", "recorder")

COMMAND = (sys.executable, "-m", "explorer")
#: The scenario switch-root is over: its last child waits for the modprobe that the kernel runs for it.
UNTIL_SWITCHED = 'task(1).comm == "real-init" and comm:asker waiting>0.2'


def boot_options(*, filler_mb: int = 40, reboot: bool = False, append: str = "") -> GuestOptions:
    """A guest that has not run yet, with an initramfs that takes a while to unpack and a disk to switch to."""
    return GuestOptions(
        paused=True,
        vmcoreinfo=False,
        filler_mb=filler_mb,
        disk=build_root_image(),
        reboot=reboot,
        append=append,
    )


def _words(guest: Guest, output: Path, arguments: tuple[str, ...]) -> list[str]:
    sockets = ("--qemu", str(guest.qmp_socket), "--control", str(guest.control_socket))
    return [*COMMAND, "record", *sockets, "-o", str(output), *arguments]


def record_guest(guest: Guest, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Record in steps until the command ends."""
    return subprocess.run(
        _words(guest, output, arguments), capture_output=True, text=True, check=False, timeout=300
    )


@contextmanager
def recorder(guest: Guest, output: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command while it records; it is gone after the block."""
    process = subprocess.Popen(
        _words(guest, output, arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_signals,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def await_frames(path: Path, count: int, timeout_s: float = 60.0) -> None:
    """Wait until a recording that is being made has ``count`` frames more than it has now."""
    deadline, wanted = time.monotonic() + timeout_s, _frames(path) + count
    while _frames(path) < wanted:
        assert time.monotonic() < deadline, f"no {count} frames in {timeout_s:g} s"
        time.sleep(0.1)


def _frames(path: Path) -> int:
    with Recording.open(path) as recording:
        return len(recording)
