"""The lab against itself: a guest boots, makes its states, and its oracle says what each state means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernels.conftest import BootFunction
from tests.kernels.lab import LINES, GuestOptions, Identity, Oracle
from tests.kernels.lab.errors import GuestDiedError
from tests.kernels.lab.oracle import PF_DUMPCORE, OracleErrno, OracleTask

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

NULL_FS_MAGIC = 0x4E554C4C
RAMFS_OR_TMPFS_MAGICS = (0x858458F6, 0x01021994)

# What each kernel refuses, by its own errno. Anything else that is missing is a fault.
SKIPPED = {
    "6.1": {"empty-ns", "failfs"},
    "6.12": {"empty-ns", "failfs"},
    "7.2": {"failfs"},
    "7.3": set(),
}


def identity(value: Identity | OracleErrno) -> Identity:
    assert isinstance(value, Identity), value
    return value


def only(tasks: list[OracleTask]) -> OracleTask:
    assert len(tasks) == 1, tasks
    return tasks[0]


def check_places(oracle: Oracle, states: dict[str, int]) -> None:
    pid1 = oracle.task(1)
    assert identity(pid1.root_id).magic in RAMFS_OR_TMPFS_MAGICS
    chroot = oracle.task(states["chroot"])
    assert (chroot.root, chroot.cwd) == (b"/jail", b"/jail")
    outside = oracle.task(states["chroot-cwd-out"])
    assert (outside.root, outside.cwd) == (b"/jail", b"/")
    assert oracle.task(states["cwd-deleted"]).cwd == b"/gone (deleted)"
    assert oracle.task(states["cwd-too-long"]).cwd == OracleErrno(36)
    assert oracle.task(states["umask-0077"]).umask == 0o77
    assert oracle.task(states["comm-markup"]).comm == b"\033[31m[bold]evil"
    assert oracle.task(states["comm-stat"]).comm == b"x) Z 1 ("
    detached = identity(oracle.task(states["detached-root"]).root_id)
    listed = {mount.mnt_id for mounts in oracle.mounts.values() for mount in mounts}
    assert detached.mnt_id not in listed, "a lazily unmounted tree is in no namespace"
    container = oracle.task(states["container"])
    assert isinstance(container.mnt_ns, int)
    assert container.mnt_ns != pid1.mnt_ns
    assert oracle.mounts[container.mnt_ns][0].mountpoint == b"/"
    over1, over2 = (identity(oracle.task(states[name]).cwd_id) for name in ("cwd-over-1", "cwd-over-2"))
    assert over1.mnt_id != over2.mnt_id, "one path, two mounts"


def check_owners(oracle: Oracle, states: dict[str, int]) -> None:
    pair = only(oracle.by_comm("fspair-b"))
    assert pair.fs_class == oracle.task(states["fspair-a"]).fs_class
    leader = oracle.task(states["threads"])
    threads = [task for task in oracle.tasks if task.tgid == leader.pid and task is not leader]
    assert {task.comm: task.fs_class == leader.fs_class for task in threads} == {
        b"thr-shared": True,
        b"thr-unshared": False,
    }
    for name in ("zombie", "dead-leader"):
        exited = oracle.task(states[name])
        assert exited.has_exited
        assert isinstance(exited.root, OracleErrno)
        assert exited.umask is None
    assert oracle.task(states["borrower"]).state == "D"
    assert oracle.task(states["borrower"]).flags & PF_DUMPCORE
    helper = oracle.task(states["umh-sleeper"])
    assert not helper.is_kthread
    worker = only(
        [task for task in oracle.tasks if task.tgid == states["io-uring"] and task.pid != task.tgid]
    )
    assert worker.comm.startswith(b"iou-sqp-")
    assert worker.fs_class == oracle.task(states["io-uring"]).fs_class


def check_generation(line: str, oracle: Oracle, states: dict[str, int]) -> None:
    kthreads = [task for task in oracle.tasks if task.is_kthread and task.comm != b"kdevtmpfs"]
    assert len(kthreads) > 20
    magics = {identity(task.root_id).magic for task in kthreads}
    shares_init = {task.fs_class == oracle.task(1).fs_class for task in kthreads}
    if line == "7.3":
        assert magics == {NULL_FS_MAGIC}
        assert shares_init == {False}
        assert oracle.task(states["failfs"]).root == b"failfs:/"
    else:
        assert NULL_FS_MAGIC not in magics
        assert shares_init == {True}
    if "empty-ns" in states:
        assert identity(oracle.task(states["empty-ns"]).root_id).magic == NULL_FS_MAGIC


@pytest.mark.parametrize("line", LINES)
def test_the_oracle_tells_every_lively_state_as_it_was_made(line: str, boot: BootFunction) -> None:
    guest = boot(line, "lively", None)
    assert set(guest.skipped) == SKIPPED[line]
    oracle = guest.oracle()
    assert oracle.release == guest.kernel.release
    check_places(oracle, guest.states)
    check_owners(oracle, guest.states)
    check_generation(line, oracle, guest.states)
    again = guest.oracle()
    assert again.boot_id == oracle.boot_id
    for pid in (1, *guest.states.values()):
        assert again.task(pid) == oracle.task(pid), "asking changed the answer"


def test_an_abandoned_sibling_is_dragged_into_nullfs_and_a_closed_guest_leaves_nothing(
    boot: BootFunction, tmp_path: Path
) -> None:
    guest = boot("7.3", "abandoned", None)
    oracle = guest.oracle()
    sibling = oracle.task(guest.states["init-share"])
    assert identity(sibling.root_id).magic == NULL_FS_MAGIC
    assert sibling.fs_class != oracle.task(1).fs_class
    guest.stop()
    guest.dump(tmp_path / "abandoned.elf")
    with (tmp_path / "abandoned.elf").open("rb") as dump:
        assert dump.read(4) == b"\x7fELF"
    guest.cont()
    assert guest.oracle().task(1).start == oracle.task(1).start
    process = Path(f"/proc/{guest.pid}")
    directory = guest.directory
    guest.close()
    assert not process.exists()
    assert not directory.exists()


def test_a_guest_whose_kernel_cannot_boot_is_tried_three_times_and_then_an_error(
    boot: BootFunction, recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.raises(GuestDiedError, match="last words"):
        boot("6.1", "healthy", GuestOptions(append="rdinit=/absent root=/dev/absent"))
    assert sum("booting again" in str(warning.message) for warning in recwarn) == 2
