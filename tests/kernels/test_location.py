"""What an address lies in, against what the guest's kernel says of the memory it gave away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.analysis import locate, tasks_at
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Snapshot
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps

pytestmark = pytest.mark.kernel

#: A stack is asked for in fork, by what of it the compiler has not inlined.
_AREA = re.compile(
    r"^0x([0-9a-f]{16})-0x([0-9a-f]{16}) +\d+ (?:kernel_clone|copy_process|dup_task_struct|alloc_thread_stack)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Scene:
    snapshot: Snapshot
    stacks: dict[int, int]
    """First address of each stack the kernel has allocated, and the one behind its guard page."""


@pytest.fixture(scope="module", params=ENDS)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with Guest.boot(kernel_or_skip(request.param), "shell") as guest:
        areas = run_steps(guest, "echo 1 >/proc/sys/kernel/kptr_restrict", "cat /proc/vmallocinfo")
        guest.stop()
        with open_kernel(detect_target(f"qemu:{guest.qmp_socket}")) as kernel:
            snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
    yield Scene(snapshot, {int(start, 16): int(end, 16) for start, end in _AREA.findall(areas)})


def test_the_stacks_of_all_tasks_are_areas_that_the_kernel_allocated_for_stacks(scene: Scene) -> None:
    size = (scene.snapshot.kernel.struct_sizes or {})["stack"]
    bases = {task.stack_base for task in scene.snapshot.tasks if task.pid}
    assert len(bases) == len([task for task in scene.snapshot.tasks if task.pid]) > 20
    strangers = {base for base in bases if base not in scene.stacks}
    assert len(strangers) <= 1  # the program that listed them has gone, and another may have been started
    assert {scene.stacks[base] - base for base in bases - strangers if base} == {size + 4096}


def test_every_byte_of_a_stack_leads_to_its_task_and_the_guard_page_to_none(scene: Scene) -> None:
    size = (scene.snapshot.kernel.struct_sizes or {})["stack"]
    for task in scene.snapshot.tasks:
        assert task.stack_base is not None
        for offset in (0, 8, size // 2, size - 1):
            found = locate(f"0x{task.stack_base + offset:x}", scene.snapshot)
            assert [each.reference.address for each in found if "stack" in each.words] == [task.address]
        if task.pid:
            assert task.address not in tasks_at(f"0x{task.stack_base + size:x}", scene.snapshot)


def test_any_member_of_a_task_or_a_mount_leads_to_it(scene: Scene) -> None:
    sizes = scene.snapshot.kernel.struct_sizes or {}
    assert set(sizes) == {
        "task_struct",
        "fs_struct",
        "mount",
        "mnt_namespace",
        "super_block",
        "dentry",
        "stack",
    }
    for task in scene.snapshot.tasks:
        for text in (f"{task.address + 0x20:x}", f"0x{task.address + sizes['task_struct'] - 1:X}"):
            assert task.address in {each.reference.address for each in locate(text, scene.snapshot)}
    for mount in scene.snapshot.mounts:
        [found] = [
            each
            for each in locate(f"{mount.address + 0x20:#x}", scene.snapshot)
            if "mount +0x20" in each.words
        ]
        assert found.reference.address == mount.address
