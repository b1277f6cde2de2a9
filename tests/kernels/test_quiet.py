"""Busy and crowded machines on which nothing is wrong: no finding above ``info``, whatever comes and goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from explorer.analysis.audit import audit_with
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Placement, Snapshot
from explorer.plugin import PluginSet
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest
from tests.kernels.subsystems import above_info, run_steps, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

CONTAINERS = 60
STORMERS = 3
#: As runc does it: a root of its own on overlay, files bound into it, pivot_root, the old root unmounted lazily.
_CONTAINER = (
    "n=$1; d=/c/$n; mkdir -p $d/up $d/work $d/tree; echo $n >$d/hosts",
    "mount -t overlay overlay -o lowerdir=/image,upperdir=$d/up,workdir=$d/work $d/tree",
    "mount --bind $d/hosts $d/tree/etc/hosts; mount -t proc proc $d/tree/proc; mount -t tmpfs tmp $d/tree/tmp",
    "cd $d/tree && pivot_root . old && exec chroot . /bin/busybox sh /run",
)
_INSIDE = ("umount -l /old; touch /ready; while :; do sleep 1000; done",)


def write_script(path: str, lines: tuple[str, ...]) -> str:
    return f'for line in {" ".join(repr(line) for line in lines)}; do echo "$line"; done >{path}'


def capture_with_plugins(guest: Guest) -> tuple[Snapshot, PluginSet]:
    plugins = PluginSet()
    with open_kernel(detect_target(f"qemu:{guest.qmp_socket}")) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel, plugins.plugins)), plugins


def start_containers(guest: Guest) -> None:
    run_steps(
        guest,
        "mkdir -p /image/bin /image/etc /image/proc /image/tmp /image/old /c; cp /bin/busybox /image/bin/",
        "touch /image/etc/hosts; mount -t tmpfs containers /c",
        write_script("/container", _CONTAINER),
        write_script("/image/run", _INSIDE),
        f"for i in $(seq {CONTAINERS}); do unshare -m sh /container $i >/c/$i.log 2>&1 & done",
    )
    # What a container makes in its root is in the upper layer, where the host sees it.
    wait_until(guest, f"test $(ls /c/*/up/ready 2>/dev/null | wc -l) -ge {CONTAINERS}", 300)


@pytest.fixture(scope="module")
def crowded() -> Iterator[Guest]:
    """Of 7.3: before, pivot_root() refuses to leave an initramfs."""
    with Guest.boot(kernel_or_skip("7.3"), "layers") as guest:
        start_containers(guest)
        yield guest


def findings_above_info(guest: Guest, stopped: bool) -> tuple[Snapshot, list[str]]:
    if stopped:
        guest.stop()
    try:
        snapshot, plugins = capture_with_plugins(guest)
    finally:
        if stopped:
            guest.cont()
    report = audit_with(plugins, snapshot)
    assert report.errors == []
    return snapshot, [f"{found.rule}: {found.title}" for found in above_info(report.findings)]


def test_sixty_containers_are_no_finding(crowded: Guest) -> None:
    snapshot, found = findings_above_info(crowded, stopped=True)
    roots = [fs.root for fs in snapshot.fs_structs if fs.root is not None and fs.root.fstype == "overlay"]
    assert {root.placement for root in roots} == {Placement.NS_ROOT}
    assert len({root.mount for root in roots}) == CONTAINERS
    assert found == []


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "running"])
def test_a_storm_of_processes_among_sixty_containers_is_no_finding(crowded: Guest, stopped: bool) -> None:
    assert crowded.run_applet("lab-storm", str(STORMERS)) == 0
    try:
        for _ in range(5):
            _, found = findings_above_info(crowded, stopped)
            assert found == []
    finally:
        assert crowded.run_applet("lab-calm") == 0


@pytest.mark.repetition
def test_in_hundreds_of_captures_of_a_storm_no_root_is_taken_down_between_two_reads(crowded: Guest) -> None:
    """One capture in some three hundred met a task that exited after its fs_struct and before its mount was read."""
    assert crowded.run_applet("lab-storm", str(STORMERS)) == 0
    try:
        found = [title for _ in range(500) for title in findings_above_info(crowded, False)[1]]
    finally:
        assert crowded.run_applet("lab-calm") == 0
    assert found == []
