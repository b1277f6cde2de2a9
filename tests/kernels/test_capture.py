"""Captures of real kernels, against what each guest says of itself, through every road to its memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import zstandard

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Generation, Owner, Placement, Snapshot, Task, TaskKind
from explorer.slicing.cut import record_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenOptions, open_kernel
from tests.kernels.compare import disagreements, facts, misplaced
from tests.kernels.lab import LINES, Guest, GuestOptions, Oracle, get_kernel

pytestmark = pytest.mark.kernel

GENERATIONS = {
    "6.1": Generation.LEGACY,
    "6.12": Generation.LEGACY,
    "7.2": Generation.NULLFS_ROOTFS,
    "7.3": Generation.ISOLATED,
}


def capture(target: str, options: OpenOptions | None = None) -> Snapshot:
    with open_kernel(detect_target(target), options) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


@dataclass(frozen=True)
class Scene:
    """One kernel in the lively scenario: seen by the guest, then stopped, captured and dumped, then seen again."""

    line: str
    directory: Path
    before: Oracle
    after: Oracle
    states: dict[str, int]
    captured: Snapshot
    """Through QMP, while the guest was stopped."""

    def path(self, name: str) -> Path:
        return self.directory / name

    def task(self, state: str) -> Task:
        """The task that the scenario made for that state."""
        return next(task for task in self.captured.tasks if task.pid == self.states[state])

    def root_of(self, state: str) -> Placement | None:
        fs = self.captured.fs_by_address[self.task(state).owned_fs or 0]
        return None if fs.root is None else fs.root.placement


def stop_in_kernel(guest: Guest) -> None:
    """Stop the guest while its CPU runs kernel code.

    QEMU writes a dump with paging through the page tables in use; those of user mode (KPTI) lack the kernel.
    """
    for _ in range(100):
        guest.stop()
        if "CPL=0" in guest.control.command("human-monitor-command", command_line="info registers"):
            return
        guest.cont()
        time.sleep(0.02)
    raise AssertionError("the guest never runs kernel code")


def make_scene(line: str, directory: Path) -> Scene:
    with Guest.boot(line, "lively", GuestOptions(memory_file=True)) as guest:
        before = guest.oracle()
        stop_in_kernel(guest)
        captured = capture(f"qemu:{guest.qmp_socket}")
        guest.dump(directory / "elf")
        guest.dump(directory / "elf-paging", paging=True)
        guest.dump(directory / "flattened", "kdump-zlib")
        subprocess.run(["cp", "--sparse=always", guest.memory_path, directory / "ram"], check=True)
        guest.cont()
        after = guest.oracle()
        states = dict(guest.states)
    with (directory / "flattened").open("rb") as flat:
        subprocess.run(
            ["makedumpfile", "-R", directory / "kdump"], stdin=flat, check=True, capture_output=True
        )
    with (directory / "elf").open("rb") as plain, (directory / "elf.zst").open("wb") as packed:
        zstandard.ZstdCompressor(level=1).copy_stream(plain, packed)
    with (
        open_kernel(detect_target(str(directory / "elf"))) as kernel,
        (directory / "slice").open("wb") as out,
    ):
        record_slice(kernel, lambda what, done, total: None).write(out)
    return Scene(line, directory, before, after, states, captured)


@pytest.fixture(scope="module", params=LINES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = make_scene(request.param, tmp_path_factory.mktemp(f"scene-{request.param}-"))
    yield made
    for path in made.directory.iterdir():
        path.unlink()  # a few hundred MB for each kernel


def test_every_task_is_where_the_guest_says_it_is(scene: Scene) -> None:
    assert disagreements(scene.captured, scene.before, scene.after) == []


def test_the_comparison_notices_a_wrong_root_umask_and_sharer(scene: Scene) -> None:
    """The check above can fail: three lies, three complaints."""
    wrong = scene.captured.model_copy(deep=True)
    for name in ("chroot", "umask-0077", "fspair-a"):
        task = next(task for task in wrong.tasks if task.pid == scene.states[name])
        fs = next(fs for fs in wrong.fs_structs if fs.address == task.owned_fs)
        if name == "chroot" and fs.root is not None:
            fs.root.path = "/"
        elif name == "umask-0077":
            fs.umask = "0022"
        else:
            task.fs = task.real_fs = wrong.kernel.init_fs
    complaints = "\n".join(disagreements(wrong, scene.before, scene.after))
    for word in ("root path", "umask", "sharers"):
        assert word in complaints


def test_the_generation_is_what_this_kernel_is(scene: Scene) -> None:
    assert scene.captured.kernel.generation is GENERATIONS[scene.line]


@pytest.mark.parametrize("way", ["elf", "elf-paging", "elf.zst", "flattened", "kdump", "slice", "physmem"])
def test_every_road_to_the_same_memory_gives_the_same_snapshot(scene: Scene, way: str) -> None:
    target = f"physmem:{scene.path('ram')}" if way == "physmem" else str(scene.path(way))
    # A slice must stand alone: nothing from the cache.
    assert facts(capture(target, OpenOptions(use_cache=way != "slice"))) == facts(scene.captured)


def test_a_warm_cache_changes_nothing(scene: Scene) -> None:
    cold = capture(str(scene.path("elf")), OpenOptions(use_cache=False))
    capture(str(scene.path("elf")))
    assert facts(capture(str(scene.path("elf")))) == facts(cold)


def test_a_slice_opens_in_plain_drgn(scene: Scene) -> None:
    script = "print(prog['UTS_RELEASE'].string_().decode())\nprint(len(prog['VMCOREINFO'].string_()) > 1000)"
    result = subprocess.run(
        ["drgn", "--quiet", "--core", scene.path("slice"), "-e", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": _venv_path()},
    )
    assert result.stdout.split() == [scene.captured.kernel.release, "True"], result.stderr


def _venv_path() -> str:
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


def test_placement_is_right_for_every_state_that_all_kernels_have(scene: Scene) -> None:
    assert misplaced(scene.captured, scene.states) == []
    assert scene.task("fspair-a").owner is Owner.SHARED
    assert scene.task("plain-a").owner is Owner.PRIVATE
    assert scene.task("zombie").owner is Owner.NONE
    assert scene.task("umh-sleeper").kind is TaskKind.USERMODEHELPER
    assert scene.task("plain-a").kind is TaskKind.USER
    assert next(task for task in scene.captured.tasks if task.pid == 1).kind is TaskKind.INIT


def test_kernel_threads_are_in_nullfs_where_they_are_isolated_and_nowhere_else(scene: Scene) -> None:
    snapshot = scene.captured
    kernel_tasks = [
        task
        for task in snapshot.tasks
        if task.kind in (TaskKind.KTHREAD, TaskKind.KWORKER, TaskKind.RESCUER, TaskKind.IDLE)
        and task.comm != "kdevtmpfs"
    ]
    assert len(kernel_tasks) > 20
    assert {task.owned_fs for task in kernel_tasks} == {snapshot.kernel.init_fs}
    fs = snapshot.fs_by_address[snapshot.kernel.init_fs or 0]
    assert fs.root is not None
    isolated = GENERATIONS[scene.line] is Generation.ISOLATED
    assert fs.root.placement is (Placement.NULLFS if isolated else Placement.INIT_ROOT)


def test_workers_say_what_they_run(scene: Scene) -> None:
    workers = [task for task in scene.captured.tasks if task.kind is TaskKind.KWORKER]
    assert workers
    assert {task.kthread.threadfn for task in workers if task.kthread} == {"worker_thread"}
    assert any(task.kthread and task.kthread.last_func for task in workers)
    rescuers = [task for task in scene.captured.tasks if task.kind is TaskKind.RESCUER]
    names = {task.kthread.workqueue for task in rescuers if task.kthread}
    assert rescuers
    assert None not in names
    # The worker that waits for the usermodehelper is in the middle of its work.
    running = [task.kthread for task in workers if task.kthread and task.kthread.current_func]
    assert ("call_usermodehelper_exec_work", "events_unbound") in [
        (kthread.current_func, kthread.workqueue) for kthread in running
    ]


def test_the_hostile_names_come_back_byte_by_byte(scene: Scene) -> None:
    said = {task.pid: task.comm for task in scene.before.tasks}
    for state, pid in scene.states.items():
        if state.startswith("comm-"):
            assert scene.task(state).name.encode("utf-8", "surrogateescape") == said[pid]


@pytest.mark.parametrize("scene", ["7.3"], indirect=True)
class TestOnlyOn73:
    """States that only an isolated kernel has."""

    def test_failfs_an_empty_namespace_and_a_borrower_are_named_as_such(self, scene: Scene) -> None:
        assert scene.root_of("failfs") is Placement.FAILFS
        assert scene.root_of("empty-ns") is Placement.NULLFS_NS_ROOT
        borrower = scene.task("borrower")
        assert borrower.borrowing
        assert borrower.fs == scene.captured.kernel.userspace_init_fs
        assert borrower.state == "D"
        assert [task.pid for task in scene.captured.tasks if task.borrowing] == [borrower.pid]

    def test_dwarf_and_btf_give_the_same_snapshot_task_by_task(self, scene: Scene) -> None:
        vmlinux = get_kernel("7.3", debug=True).vmlinux
        assert vmlinux is not None
        dwarf = capture(str(scene.path("elf")), OpenOptions(symbols=[vmlinux]))
        assert dwarf.capture.types == "dwarf"
        for one, other in zip(dwarf.tasks, scene.captured.tasks, strict=True):
            one.stack = None  # which only DWARF can give
            assert one == other
        assert facts(dwarf) == facts(scene.captured)
