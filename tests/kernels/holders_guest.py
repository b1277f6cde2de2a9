"""A guest in which mounts were unmounted lazily, and are held in every way there is: what it says of itself."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from explorer.analysis.audit import run_audit
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Attachment, Finding, Mount, MountHolders, Snapshot
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.lab import Guest, Kernel, Oracle

__all__ = ("Said", "Scene", "boot_scene", "capture", "findings")


@dataclass(frozen=True)
class Said:
    """What the guest says of one descriptor, program or mapping."""

    pid: int
    how: str
    fd: int | None
    mnt_id: int
    link: bytes


@dataclass(frozen=True)
class Scene:
    line: str
    states: dict[str, int]
    skipped: dict[str, int]
    before: Oracle
    after: Oracle
    said: list[Said]
    dump: Path
    snapshot: Snapshot
    """As any capture makes it."""
    asked: Snapshot
    """With the holders of every mount."""

    def dead(self, source: str) -> tuple[Mount, MountHolders]:
        """The mount that a state was made of, and its holders."""
        [mount] = [mount for mount in self.snapshot.mounts if mount.source == source]
        assert mount.attachment is Attachment.DETACHED
        assert mount.holders is not None
        return mount, mount.holders

    def name(self, state: str) -> str:
        task = next(task for task in self.snapshot.tasks if task.pid == self.states[state])
        return f"{task.name} ({task.pid})"


def capture(target: str, *, everything: bool = False) -> Snapshot:
    with open_kernel(detect_target(target)) as kernel:
        request = CaptureRequest.from_kernel(kernel)
        if everything:
            request = dataclasses.replace(
                request, holders_of=lambda snapshot: [mount.address for mount in snapshot.mounts]
            )
        return capture_snapshot(request)


def ask(guest: Guest) -> list[Said]:
    start = len(guest.console.log)
    assert guest.run_applet("lab-held") == 0
    text = bytes(guest.console.log[start:]).decode("ascii")
    found = re.findall(r"^NX HELD (\d+) (\w+) (\d+|-) (-?\d+) ([0-9a-f]*)\r?$", text, re.MULTILINE)
    return [
        Said(int(pid), how, None if fd == "-" else int(fd), int(mnt_id), bytes.fromhex(link))
        for pid, how, fd, mnt_id, link in found
    ]


@contextmanager
def boot_scene(line: str, kernel: Kernel, directory: Path) -> Iterator[Scene]:
    """Boot a kernel, ask it, dump it and ask again. :param directory: where the dump lies meanwhile"""
    dump = directory / "elf"
    with Guest.boot(kernel, "holders") as guest:
        said, before = ask(guest), guest.oracle()
        guest.stop()
        guest.dump(dump)
        guest.cont()
        after = guest.oracle()
        states, skipped = dict(guest.states), dict(guest.skipped)
    snapshot, asked = capture(str(dump)), capture(str(dump), everything=True)
    yield Scene(line, states, skipped, before, after, said, dump, snapshot, asked)
    dump.unlink()


def findings(snapshot: Snapshot) -> list[Finding]:
    return [
        finding
        for finding in run_audit(snapshot).findings
        if finding.rule.startswith(("NX-MOUNT", "NX-NS", "NX-ROOT-DET", "NX-PWD-DET"))
    ]
