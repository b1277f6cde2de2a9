"""The one file in a guest that has a kernel, busybox and it: no Python, no library."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.model import Snapshot
from tests.kernels.compare import common_tasks, disagreements, forget_readers, printed_snapshot
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, GuestOptions, Oracle, boot_until
from tests.kernels.lab.squashfs import cached_image
from tests.kernels.lab.userland import unpack_package

pytestmark = [pytest.mark.kernel, pytest.mark.repetition, pytest.mark.timeout(1800)]

_LINE = "7.3"
#: For what is unpacked, twice: the screen, and its reader.
_MEMORY_MB = 1024
_PATIENCE_S = 600.0


def rescue_image(standalone: Path) -> Path:
    def stage(root: Path) -> None:
        for name in ("bin", "dev", "proc", "run", "sys", "tmp"):
            (root / name).mkdir()
        shutil.copy2(standalone, root / "bin" / "nullfs-explorer")
        shutil.copy2(unpack_package("busybox-static") / "bin" / "busybox", root / "bin" / "busybox")

    return cached_image("rescue", hashlib.sha256(standalone.read_bytes()).hexdigest()[:24], stage)


@dataclass
class Rescue:
    """What it said there, between two listings of the guest's own."""

    before: Oracle
    snapshot: Snapshot
    after: Oracle
    audit: tuple[int, str]
    user: tuple[int, str]
    overview: str
    screen_ended: tuple[int, bool]
    left: str


def look(guest: Guest) -> Rescue:
    before = guest.oracle()
    code, printed = guest.run_tool("snapshot", "live", "--no-cache", timeout_s=_PATIENCE_S)
    assert code == 0, printed
    snapshot = printed_snapshot(printed)
    after = guest.oracle()
    audit = guest.run_tool("audit", "live", timeout_s=_PATIENCE_S)
    user = guest.run_tool("@nobody", "snapshot", "live", timeout_s=_PATIENCE_S)
    screen = guest.start_screen("live", columns=160, timeout_s=_PATIENCE_S)
    overview = screen.until(lambda text: re.search(r"findings +\d", text) is not None, _PATIENCE_S)
    screen.press("q")
    ended = guest.end_screen(screen, _PATIENCE_S)
    _, left = guest.run_tool("@busybox", "ls", "/tmp")
    return Rescue(before, snapshot, after, audit, user, overview, ended, left)


@pytest.fixture(scope="module")
def rescue(standalone: Path) -> Iterator[Rescue]:
    kernel, options = kernel_or_skip(_LINE), GuestOptions(disk=rescue_image(standalone), memory_mb=_MEMORY_MB)
    guest, seen = boot_until(lambda: Guest.boot(kernel, "live", options), look, f"{_LINE} rescue")
    with guest:
        yield seen


def test_a_capture_agrees_with_the_guest_on_every_task_that_stayed(rescue: Rescue) -> None:
    assert forget_readers(rescue.snapshot) >= 3, "the file, the program in it, and whoever guards its reading"
    assert disagreements(rescue.snapshot, rescue.before, rescue.after) == []
    assert len(common_tasks(rescue.before, rescue.after)) > 80


def test_the_audit_gives_its_verdict(rescue: Rescue) -> None:
    code, printed = rescue.audit
    assert code in (0, 1), printed
    assert "ISOLATED. Kernel threads live in nullfs." in printed


def test_a_user_gets_one_clear_line(rescue: Rescue) -> None:
    code, printed = rescue.user
    assert code == 3
    assert len(printed.splitlines()) == 1, printed
    assert "sudo" in printed or "root" in printed


def test_the_screen_works_over_the_serial_line(rescue: Rescue) -> None:
    assert "ISOLATED   Kernel threads live in nullfs. " in rescue.overview
    assert rescue.screen_ended == (0, True), "it ended well, and left the terminal as it was"


def test_nothing_is_left_where_it_was_unpacked(rescue: Rescue) -> None:
    assert "nullfs-explorer-" not in rescue.left
