"""A kernel of every series that the mirror has opens without a cache, and every task is as its guest says.

What the other tests boot (``LINES``) stands in test_capture.py. Here are the series between those, the builds that
are not the cloud's, and the newest release candidate. Of a series that no suite has (any more) nothing can be said:
that test is skipped, with these words. One that is there is never skipped in CI.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Generation, Snapshot, Task, TaskKind
from explorer.slicing.cut import record_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenOptions, open_kernel
from tests.kernels.compare import common_tasks, disagreements, facts, misplaced
from tests.kernels.conftest import cannot_run, kernel_or_skip
from tests.kernels.lab import LINES, OTHER_LINES, Guest, Oracle, find_series
from tests.kernels.lab.errors import LabError

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

KERNEL_KINDS = (TaskKind.KTHREAD, TaskKind.KWORKER, TaskKind.RESCUER)
#: How many states the lively scenario makes at least, on the oldest kernel.
MIN_STATES = 30


def capture_cold(path: Path) -> Snapshot:
    with open_kernel(detect_target(str(path)), OpenOptions(use_cache=False)) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


def generation_of(said: Oracle) -> Generation:
    """What the guest's own listing tells of its kernel."""
    init = said.task(1)
    kthreadd = next(task for task in said.tasks if task.is_kthread and task.comm == b"kthreadd")
    if kthreadd.fs_class != init.fs_class:
        return Generation.ISOLATED
    assert isinstance(init.mnt_ns, int)
    mounts = said.mounts[init.mnt_ns]
    root = next(mount for mount in mounts if mount.mountpoint == b"/")
    # A rootfs is its own parent, unless it is mounted on nullfs: whoever is in it cannot see that.
    on_nullfs = root.parent_id not in {mount.mnt_id for mount in mounts}
    return Generation.NULLFS_ROOTFS if on_nullfs else Generation.LEGACY


@dataclass(frozen=True)
class Scene:
    """One kernel in the lively scenario: listed by the guest, dumped, listed again."""

    release: str
    states: dict[str, int]
    generation: Generation
    before: Oracle
    after: Oracle
    dump: Path
    captured: Snapshot

    def task(self, state: str) -> Task:
        """The task that the scenario made for that state."""
        return next(task for task in self.captured.tasks if task.pid == self.states[state])


def make_scene(line: str, directory: Path) -> Scene:
    with Guest.boot(kernel_or_skip(line), "lively") as guest:
        before = guest.oracle()
        guest.stop()
        guest.dump(directory / "elf")
        guest.cont()
        after = guest.oracle()
    generation = generation_of(before)
    captured = capture_cold(directory / "elf")
    return Scene(
        guest.kernel.release, dict(guest.states), generation, before, after, directory / "elf", captured
    )


#: What is neither the first nor the last to have something is tried by ``make churn``.
BETWEEN = ("6.17", "7.1", "7.3-amd64")
PARAMS = [
    pytest.param(line, marks=pytest.mark.repetition) if line in BETWEEN else line for line in OTHER_LINES
]


@pytest.fixture(scope="module", params=PARAMS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = make_scene(request.param, tmp_path_factory.mktemp(f"series-{request.param}-"))
    yield made
    made.dump.unlink()


def assert_true(scene: Scene) -> None:
    """The snapshot has what the guest said, and the guest had what makes that worth something."""
    assert len(scene.states) >= MIN_STATES
    assert len(common_tasks(scene.before, scene.after)) > len(scene.states) + 20
    assert disagreements(scene.captured, scene.before, scene.after) == []
    assert misplaced(scene.captured, scene.states) == []
    assert scene.captured.kernel.release == scene.release
    assert scene.captured.kernel.generation is scene.generation


def test_every_task_of_this_series_is_where_the_guest_says_it_is(scene: Scene) -> None:
    assert_true(scene)


def test_threads_and_workers_of_this_series_are_known_by_what_they_run(scene: Scene) -> None:
    kinds = {kind: [task for task in scene.captured.tasks if task.kind is kind] for kind in KERNEL_KINDS}
    assert all(kinds.values()), {kind: len(found) for kind, found in kinds.items()}
    workers = [task.kthread for task in kinds[TaskKind.KWORKER]]
    assert {thread.threadfn for thread in workers if thread} == {"worker_thread"}
    assert ("call_usermodehelper_exec_work", "events_unbound") in {
        (thread.current_func, thread.workqueue) for thread in workers if thread
    }
    assert scene.task("umh-sleeper").kind is TaskKind.USERMODEHELPER
    assert scene.task("plain-a").kind is TaskKind.USER


def test_a_slice_of_this_series_stands_alone_and_says_the_same(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "slice"
    options = OpenOptions(use_cache=False)
    with open_kernel(detect_target(str(scene.dump)), options) as kernel, path.open("wb") as out:
        record_slice(kernel, lambda what, done, total: None).write(out)
    again = capture_cold(path)
    assert facts(again) == facts(scene.captured)


def test_a_series_that_came_after_these_lists_were_written_opens_too(tmp_path: Path) -> None:
    try:
        series = find_series()
    except LabError as error:
        cannot_run(str(error))
        raise
    assert series >= {"6.12", "7.3"}, "the mirror's lists cannot be whole"
    for line in sorted(series - {*LINES, *OTHER_LINES}):
        scene = make_scene(line, tmp_path)
        assert_true(scene)
        scene.dump.unlink()
