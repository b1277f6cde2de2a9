"""Who holds a mount that was unmounted lazily, on kernels in which it was made for the test."""

from __future__ import annotations

import pytest

from explorer.model import Attachment, HolderKind
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.holders_guest import capture, findings
from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps, wait_until

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("line", ENDS)
def test_a_dead_overlay_is_held_by_files_by_the_files_below_them_and_by_mapped_ones_and_by_nothing_else(
    line: str,
) -> None:
    """As a container leaves one behind: each open file has another one open, which names the same path."""
    with Guest.boot(kernel_or_skip(line), "layers") as guest:
        run_steps(
            guest,
            "mkdir -p /l1 /up /o; mount -t tmpfs up /up; mkdir -p /up/u /up/w",
            "cp /bin/busybox /l1/busybox; echo below > /l1/f",
            "mount -t overlay ov /o -o lowerdir=/l1,upperdir=/up/u,workdir=/up/w; echo new > /o/new",
            "(exec 7</o/f 8<>/o/new 9</o; exec /o/busybox sleep 100000) >/dev/null 2>&1 &",
        )
        wait_until(guest, "grep -l ^/o/busybox /proc/[0-9]*/cmdline")
        run_steps(guest, "umount -l /o")
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}")
    [mount] = [mount for mount in snapshot.mounts if mount.source == "ov"]
    assert mount.attachment is Attachment.DETACHED
    assert mount.holders is not None
    assert mount.holders.unexplained == 0
    paths = [holder.path for holder in mount.holders.holders]
    assert sorted(paths, key=str) == ["/", "/busybox", "/busybox", "/f", "/f", "/new", "/new"]


@pytest.mark.parametrize("line", ENDS)
def test_a_dead_mount_in_which_a_path_walk_hangs_is_held_by_that_walk(line: str) -> None:
    with Guest.boot(kernel_or_skip(line), "shell") as guest:
        run_steps(guest, "mkdir -p /f; /init lab-fuse /f", "(cat /f/x >/dev/null 2>&1 &)")
        wait_until(guest, "grep -q fuse_ $(grep -l ^cat /proc/[0-9]*/cmdline | sed s/cmdline/stack/)")
        assert guest.run_applet("lab-detach", "/f") == 0
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}")
    [mount] = [mount for mount in snapshot.mounts if mount.fstype == "fuse"]
    assert mount.attachment is Attachment.DETACHED
    assert mount.holders is not None
    assert [holder.kind for holder in mount.holders.holders] == [HolderKind.WALK]
    assert mount.holders.unexplained == 0
    [finding] = [finding for finding in findings(snapshot) if finding.rule == "NX-MOUNT-HELD"]
    assert "lives on for a path walk of cat (" in finding.title
