"""What a kernel is doing with paths, against what each guest really does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.analysis.audit import run_audit
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import KernelSetting, Snapshot, Task, TaskKind
from explorer.plugin import load_plugins
from explorer.slicing.cut import record_slice
from explorer.targets.detect import detect_target
from explorer.targets.errors import TargetError
from explorer.targets.kernel import OpenOptions, open_kernel
from tests.kernels.compare import facts
from tests.kernels.lab import LINES, Guest, GuestOptions, get_kernel

pytestmark = pytest.mark.kernel

_EXEC_WORK = "call_usermodehelper_exec_work"


def capture(target: str, options: OpenOptions | None = None) -> Snapshot:
    with open_kernel(detect_target(target), options) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


@dataclass(frozen=True)
class Scene:
    """One kernel in the lively scenario."""

    line: str
    dump: Path
    states: dict[str, int]
    snapshot: Snapshot
    modules: set[str]

    def task(self, state: str) -> Task:
        return next(task for task in self.snapshot.tasks if task.pid == self.states[state])

    def by_address(self, address: int | None) -> Task:
        return next(task for task in self.snapshot.tasks if task.address == address)


@pytest.fixture(scope="module", params=LINES)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    dump = tmp_path_factory.mktemp("activity") / "elf"
    with Guest.boot(request.param, "lively") as guest:
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}")
        guest.dump(dump)
        modules = {"qemu_fw_cfg"} | ({"fuse"} if request.param == "6.1" else set())
        yield Scene(request.param, dump, dict(guest.states), snapshot, modules)
    dump.unlink()


def test_the_stuck_borrower_is_walking_f_core_from_inits_root(scene: Scene) -> None:
    """It chrooted to /jail: the walk must show the root it borrows, not its own."""
    walk = scene.task("borrower").walk
    assert walk is not None
    assert walk.path == "/f/core"
    assert walk.root is not None
    assert (walk.root.path, walk.root.placement) == ("/", "init-root")
    assert walk.start is not None
    assert (walk.start.path, walk.start.fstype) == ("/f", "fuse")
    assert not walk.in_init


def test_only_tasks_that_are_in_a_walk_have_one(scene: Scene) -> None:
    walking = {task.walk.path for task in scene.snapshot.tasks if task.walk}
    assert walking == {"/f/core", "/f/modprobe"}


def test_a_waiting_helper_is_named_with_its_path_its_arguments_and_its_kworker(scene: Scene) -> None:
    helper = next(
        helper
        for helper in scene.snapshot.usermodehelpers
        if helper.process == scene.task("umh-sleeper").address
    )
    assert helper.argv[-1] == "net-pf-9"  # AF_X25, which the scenario asked for
    # path and argv[0] are modprobe_path itself: its present text, not what was executed
    assert helper.path == helper.argv[0] == "/sbin/modprobe"
    assert not helper.before_exec
    worker = scene.by_address(helper.waiting_worker)
    assert worker.kthread is not None
    assert worker.kthread.current_func == _EXEC_WORK
    assert scene.by_address(helper.process).kind is TaskKind.USERMODEHELPER


def test_a_helper_that_hangs_before_exec_is_told_apart_from_the_kworker_it_looks_like(scene: Scene) -> None:
    helper = next(helper for helper in scene.snapshot.usermodehelpers if helper.before_exec)
    assert helper.argv[-1] == "net-pf-24"  # AF_PPPOX
    process = scene.by_address(helper.process)
    assert process.walk is not None
    assert process.walk.path == "/f/modprobe"
    assert process.name.startswith("kworker/")
    assert process.kind is TaskKind.USERMODEHELPER
    assert len(scene.snapshot.usermodehelpers) == 2


def test_the_workqueue_shows_what_its_workers_run_and_for_how_long(scene: Scene) -> None:
    running = [
        (queue.name, work.func, scene.by_address(work.worker), work.running_s)
        for queue in scene.snapshot.workqueues
        for work in queue.running
        if work.func == _EXEC_WORK
    ]
    assert [(name, worker.kind) for name, _, worker, _ in running] == [
        ("events_unbound", TaskKind.KWORKER)
    ] * 2
    for _, _, worker, running_s in running:
        assert worker.kthread is not None
        assert worker.kthread.running_s == running_s
        assert (running_s is not None) == scene.line.startswith("7.")  # current_start
    names = {queue.name for queue in scene.snapshot.workqueues}
    assert {"events", "events_unbound", "mm_percpu_wq"} <= names


def test_every_busy_kworker_is_with_its_workqueue(scene: Scene) -> None:
    busy = {
        (task.address, task.kthread.current_func, task.kthread.workqueue)
        for task in scene.snapshot.tasks
        if task.kthread and task.kthread.current_func
    }
    listed = {
        (work.worker, work.func, queue.name) for queue in scene.snapshot.workqueues for work in queue.running
    }
    assert busy == listed


def test_the_loaded_modules_are_listed(scene: Scene) -> None:
    assert {module.name for module in scene.snapshot.modules} == scene.modules
    assert {module.taints for module in scene.snapshot.modules} == {""}


def test_a_slice_shows_the_same_activity_as_the_dump_it_was_cut_from(scene: Scene, tmp_path: Path) -> None:
    with open_kernel(detect_target(str(scene.dump))) as kernel, (tmp_path / "slice").open("wb") as out:
        record_slice(kernel, lambda what, done, total: None).write(out)
    alone = capture(str(tmp_path / "slice"), OpenOptions(use_cache=False))
    assert alone.errors == []
    assert facts(alone) == facts(scene.snapshot)


def test_without_dwarf_no_stack_is_claimed(scene: Scene) -> None:
    assert {task.stack is None for task in scene.snapshot.tasks} == {True}


@pytest.mark.parametrize("scene", ["7.3"], indirect=True)
def test_with_dwarf_the_frame_that_opened_the_borrow_is_named_with_its_source_line(scene: Scene) -> None:
    vmlinux = get_kernel("7.3", debug=True).vmlinux
    assert vmlinux is not None
    snapshot = capture(str(scene.dump), OpenOptions(symbols=[vmlinux]))
    assert snapshot.errors == []
    with_stack = {task.pid: task for task in snapshot.tasks if task.stack is not None}
    helper = next(helper.process for helper in snapshot.usermodehelpers if helper.before_exec)
    assert set(with_stack) == {scene.states["borrower"], scene.by_address(helper).pid}
    stack = with_stack[scene.states["borrower"]].stack
    assert stack is not None
    scopes = [frame for frame in stack if frame.opens_scope]
    assert [frame.function for frame in scopes] == ["coredump_file"]
    assert scopes[0].inlined
    file, _, line = (scopes[0].source or "").partition(":")
    assert file == "fs/coredump.c"
    assert int(line) > 0
    assert stack[0].source is not None
    assert stack[0].source.startswith("kernel/sched/core.c:")


@dataclass
class Shell:
    """A guest that takes lines of shell, captured again and again."""

    guest: Guest

    def run(self, line: str) -> str:
        status, printed = self.guest.sh(line)
        assert status == 0, printed
        return printed.strip()

    def capture(self) -> Snapshot:
        self.guest.stop()
        try:
            return capture(f"qemu:{self.guest.qmp_socket}")
        finally:
            self.guest.cont()

    def settings(self) -> dict[str, KernelSetting]:
        snapshot = self.capture()
        assert snapshot.errors == []
        return {setting.name: setting for setting in snapshot.settings}

    def uptime(self) -> float:
        return float(self.run("cat /proc/uptime").split()[0])


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with Guest.boot("7.3", "shell") as guest:
        yield Shell(guest)


def test_a_sleeping_task_waits_as_long_as_the_guest_says_it_slept(shell: Shell) -> None:
    before = shell.uptime()
    pid = int(shell.run("sleep 1000 >/dev/null 2>&1 & echo $!"))
    shell.run("sleep 3")
    asleep = shell.uptime()
    snapshot = shell.capture()
    later = shell.uptime()
    task = next(task for task in snapshot.tasks if task.pid == pid)
    assert task.comm in ("sleep", "busybox")
    assert task.waiting_s is not None
    assert task.waiting_s + 0.05 >= 3  # /proc/uptime counts hundredths, the runqueue's clock ticks
    assert task.waiting_s <= later - before
    assert asleep - before >= 3


def test_the_settings_are_what_proc_sys_says(shell: Shell) -> None:
    settings = shell.settings()
    for name, file in (
        ("core_pattern", "/proc/sys/kernel/core_pattern"),
        ("modprobe_path", "/proc/sys/kernel/modprobe"),
        ("poweroff_cmd", "/proc/sys/kernel/poweroff_cmd"),
        ("fw_path_para", "/sys/module/firmware_class/parameters/path"),
    ):
        assert settings[name].value == shell.run(f"cat {file}")
    release = shell.run("uname -r")
    assert [settings[f"fw_path[{index}]"].value for index in range(1, 5)] == [
        f"/lib/firmware/updates/{release}",
        "/lib/firmware/updates",
        f"/lib/firmware/{release}",
        "/lib/firmware",
    ]


def test_a_setting_is_resolved_through_links_mounts_and_stacked_mounts(shell: Shell) -> None:
    shell.run("mkdir -p /opt/real /mnt/cores && echo x > /opt/real/helper && ln -s real /opt/link")
    shell.run("ln -s /opt/link/../link/helper /helper && echo /helper > /proc/sys/kernel/modprobe")
    shell.run("mount -t tmpfs below /mnt/cores && mount -t tmpfs above /mnt/cores")
    shell.run("echo '/mnt/cores/core.%p' > /proc/sys/kernel/core_pattern")
    shell.run("mkdir -p /fw && echo -n /fw > /sys/module/firmware_class/parameters/path")
    snapshot = shell.capture()
    settings = {setting.name: setting for setting in snapshot.settings}
    helper, core = settings["modprobe_path"], settings["core_pattern"]
    assert (helper.value, helper.path, helper.found) == ("/helper", "/helper", "yes")
    assert helper.target is not None
    assert helper.target.path == "/opt/real/helper"
    assert (core.value, core.path, core.found) == ("/mnt/cores/core.%p", "/mnt/cores", "yes")
    assert core.target is not None
    assert core.target.path == "/mnt/cores"
    assert snapshot.mount_by_address[core.target.mount].source == "above"
    assert settings["fw_path_para"].found == "yes"


def test_what_is_not_there_is_no_and_what_no_one_looked_at_is_not_cached(shell: Shell) -> None:
    """The rootfs is a tmpfs, where the dentry cache is the filesystem; a /proc directory is not."""
    shell.run("echo /gone/modprobe > /proc/sys/kernel/modprobe")
    shell.run("echo '|/proc/1/net/snmp6 %p' > /proc/sys/kernel/core_pattern")
    shell.run("ln -s /loop /loop && echo -n /loop/x > /sys/module/firmware_class/parameters/path")
    settings = shell.settings()
    assert settings["modprobe_path"].found == "no"
    assert settings["core_pattern"].path == "/proc/1/net/snmp6"
    assert settings["core_pattern"].found in ("not cached", "unknown")
    assert settings["fw_path_para"].found == "no"  # ELOOP
    shell.run("test -e /sys/nope || echo '|/sys/nope' > /proc/sys/kernel/core_pattern")
    shell.run("echo /sys/unheard-of > /proc/sys/kernel/modprobe")
    settings = shell.settings()
    assert settings["core_pattern"].found == "no"  # a negative dentry: somebody asked, and it was not there
    assert settings["modprobe_path"].found == "not cached"
    shell.run("echo core > /proc/sys/kernel/core_pattern")
    assert shell.settings()["core_pattern"].found == "not a path"


def test_a_core_socket_is_looked_up_like_any_other_path(shell: Shell) -> None:
    shell.run("mkdir -p /run && echo x > /run/core.sock")
    shell.run("echo '@@/run/core.sock' > /proc/sys/kernel/core_pattern")
    core = shell.settings()["core_pattern"]
    assert (core.value, core.path, core.found) == ("@@/run/core.sock", "/run/core.sock", "yes")


def test_a_kernel_thread_of_a_module_is_said_to_be_of_that_module() -> None:
    """scsi_debug makes a host, and scsi_mod a thread for its errors."""
    with Guest.boot("7.3", "btrfs") as guest:
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}")
    assert snapshot.errors == []
    threads = {task.kthread.threadfn: task.kthread.module for task in snapshot.tasks if task.kthread}
    assert threads["scsi_error_handler [scsi_mod]"] == "scsi_mod"
    assert threads["kthread_worker_fn"] is threads["worker_thread"] is None
    assert {"scsi_mod", "scsi_debug", "btrfs"} <= {module.name for module in snapshot.modules}


def test_after_abandonment_the_kernel_finds_nothing_and_what_pid_1_sees_is_not_to_be_made_again() -> None:
    with Guest.boot("7.3", "abandoned") as guest:
        guest.stop()
        plugins = load_plugins().plugins
        with open_kernel(detect_target(f"qemu:{guest.qmp_socket}")) as kernel:
            snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))
    assert snapshot.errors == []
    found = {setting.found for setting in snapshot.settings if setting.path}
    assert found == {"no"}  # /sbin/modprobe as little as /lib/firmware
    for_pid1 = {setting.name: setting.init_found for setting in snapshot.settings}
    assert for_pid1["core_pattern"] == "yes", "/init is there"
    assert for_pid1["modprobe_path"] == "no", "the guest has none"
    findings = run_audit(snapshot, plugins).findings
    [finding] = [each for each in findings if each.rule == "NX-COREDUMP-NO-PROGRAM"]
    assert finding.title == (
        "core dumps are piped to /init, which does not exist where the kernel looks it up, and is there for PID 1"
    )
    assert finding.advice.startswith("Create nothing")
    assert any("Pid 1 stopped sharing filesystem state" in line for line in snapshot.log)


def test_the_initramfs_is_unpacked_by_a_kworker_that_borrows() -> None:
    """So early, QEMU's device has no VMCOREINFO yet: it is found in the guest's memory."""
    options = GuestOptions(filler_mb=80, paused=True, memory_file=True)
    with Guest.boot("7.3", "unpack", options) as guest:
        for _ in range(300):
            guest.cont()
            time.sleep(0.1)
            guest.stop()
            try:
                snapshot = capture(f"physmem:{guest.memory_path}")
            except TargetError:
                continue  # the kernel is not up yet
            borrowers = [task for task in snapshot.tasks if task.borrowing]
            if borrowers:
                break
        else:
            pytest.fail("no borrower was seen while the guest booted")
    assert len(borrowers) == 1
    kthread = borrowers[0].kthread
    assert borrowers[0].kind is TaskKind.KWORKER
    assert kthread is not None
    assert (kthread.workqueue, kthread.current_func) == ("async", "async_run_entry_fn")
    assert kthread.running_s is not None
