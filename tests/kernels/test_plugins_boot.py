"""Plugins on what every kernel has: devtmpfs, PID 1, helpers, firmware, IMA, the unpacking of the initramfs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.model import (
    KernelSetting,
    Owner,
    PathRef,
    Placement,
    Reference,
    Severity,
    Snapshot,
    StackFrame,
    Task,
    TaskKind,
)
from tests.kernels.lab import LINES, Guest, GuestOptions
from tests.kernels.subsystems import Seen, above_info, capture_guest, plugin_named, run_steps, wait_until

pytestmark = pytest.mark.kernel

EVERYWHERE = ("devtmpfs", "firmware", "ima", "init", "initramfs", "umh")
MODULES = ("btrfs", "ksmbd", "lio", "rnbd")
MODPROBE = "/proc/sys/kernel/modprobe"
HOSTNAME = "/proc/sys/kernel/hostname"


@pytest.mark.parametrize("line", LINES)
def test_a_healthy_kernel_gives_all_facts_and_no_finding_and_says_what_is_not_loaded(line: str) -> None:
    with Guest.boot(line, "healthy") as guest:
        seen = capture_guest(guest, *EVERYWHERE, *MODULES)
    assert {name: seen.state(name) for name in MODULES} == dict.fromkeys(MODULES, "not loaded")
    for name in EVERYWHERE:
        assert [(name, finding.title) for finding in above_info(seen.findings(name))] == []
        assert seen.unclaimed(name) == []
        assert (name, seen.facts(name).missing) == (name, [])
    init = next(task for task in seen.snapshot.tasks if task.pid == 1)
    facts = seen.facts("init")
    assert (facts.task.address, facts.fs) == (init.address, facts.kernel_fs)
    assert facts.kernel_root.placement is Placement.INIT_ROOT
    (kdevtmpfs,) = seen.spoken_for("devtmpfs")
    assert (kdevtmpfs.comm, seen.facts("devtmpfs").thread) == ("kdevtmpfs", kdevtmpfs.address)
    assert (kdevtmpfs.owner, seen.facts("devtmpfs").requests) == (Owner.PRIVATE, [])
    assert (seen.facts("initramfs").system_state, seen.facts("initramfs").pending) == ("running", [])


@dataclass(frozen=True)
class Shell:
    healthy: Seen
    said: dict[str, str]
    """What the guest says: file -> text."""
    devtmpfs_source: str
    firmware: Seen
    helpers: Seen
    sleeper: list[str]
    """The waiting helper's command line, as /proc has it."""
    namespaces: dict[int, str]
    """pid -> its mount namespace, as /proc has it: of PID 1 and of every helper."""
    parents: dict[int, int]
    half_switched: Seen


def start_helpers(guest: Guest) -> None:
    """One helper that a kworker waits for, one before exec, one that a core dump is piped to, in its own namespace."""
    run_steps(
        guest,
        f"ln /init /umh-sleeper; echo /umh-sleeper >{MODPROBE}; /init lab-socket 9 >/dev/null 2>&1 &",
    )
    wait_until(guest, "pidof umh-sleeper")
    run_steps(
        guest,
        "mkdir /f; /init lab-fuse /f; ln /init /core-sleeper",
        f"echo /f/modprobe >{MODPROBE}; /init lab-socket 24 >/dev/null 2>&1 &",
        "echo '|/bin/busybox unshare -m /core-sleeper' >/proc/sys/kernel/core_pattern",
        "/init lab-crash >/dev/null 2>&1 &",
    )
    wait_until(guest, "pidof core-sleeper")
    wait_until(guest, "grep -q fuse_lookup /proc/[0-9]*/stack")


def proc_of_helpers(guest: Guest, seen: Seen) -> tuple[dict[int, str], dict[int, int]]:
    namespaces, parents = {}, {}
    for pid in [1, *(task.pid for task in helpers_in(seen))]:
        namespaces[pid] = run_steps(guest, f"readlink /proc/{pid}/ns/mnt").strip()
        parents[pid] = int(run_steps(guest, f"grep ^PPid /proc/{pid}/status").split()[1])
    return namespaces, parents


def helpers_in(seen: Seen) -> list[Task]:
    return [task for task in seen.snapshot.tasks if task.kind is TaskKind.USERMODEHELPER]


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    with Guest.boot("7.3", "shell") as guest:
        run_steps(guest, f"echo nx-guest >{HOSTNAME}")
        healthy = capture_guest(guest, *EVERYWHERE)
        files = (
            HOSTNAME,
            MODPROBE,
            "/sys/module/firmware_class/parameters/path",
            "/proc/sys/kernel/osrelease",
        )
        said = {file: run_steps(guest, f"cat {file}").strip() for file in files}
        source = run_steps(guest, "mkdir /d && mount -t devtmpfs x /d && stat -c %i /d /dev && umount /d")
        run_steps(guest, "echo /no/such >/sys/module/firmware_class/parameters/path")
        firmware = capture_guest(guest, *EVERYWHERE)
        start_helpers(guest)
        helpers = capture_guest(guest, *EVERYWHERE)
        sleeper = run_steps(guest, "tr '\\0' '\\n' </proc/$(pidof umh-sleeper)/cmdline").split()
        namespaces, parents = proc_of_helpers(guest, helpers)
        run_steps(guest, "mkdir /new && mount -t tmpfs newroot /new && mount -o move /new /")
        half_switched = capture_guest(guest, *EVERYWHERE)
        yield Shell(healthy, said, source, firmware, helpers, sleeper, namespaces, parents, half_switched)


def test_the_machine_is_called_what_it_calls_itself(shell: Shell) -> None:
    assert shell.healthy.snapshot.kernel.nodename == shell.said[HOSTNAME] == "nx-guest"


def test_settings_are_those_that_sysctl_and_sysfs_show(shell: Shell) -> None:
    umh = shell.healthy.facts("umh")
    assert umh.modprobe_path == shell.said[MODPROBE]
    assert (umh.running_helpers, umh.disabled, umh.waiting) == (0, 0, [])
    release = shell.said["/proc/sys/kernel/osrelease"]
    directories = shell.healthy.facts("firmware").directories
    assert shell.said["/sys/module/firmware_class/parameters/path"] == ""
    assert [directory.path for directory in directories] == [
        f"/lib/firmware/updates/{release}",
        "/lib/firmware/updates",
        f"/lib/firmware/{release}",
        "/lib/firmware",
    ]
    assert {directory.now.found for directory in directories} == {"no"}
    for name in EVERYWHERE:
        assert shell.healthy.facts(name).missing == []


def test_every_devtmpfs_mount_shows_the_kernels_own(shell: Shell) -> None:
    """The guest: a second mount has the inode of the first; the facts: the kernel's mount has /dev's superblock."""
    assert len(set(shell.devtmpfs_source.split())) == 1
    snapshot = shell.healthy.snapshot
    internal = snapshot.mount_by_address[shell.healthy.facts("devtmpfs").mount.mount]
    dev = next(mount for mount in snapshot.mounts if mount.mountpoint == "/dev")
    assert internal.superblock == dev.superblock


def test_a_firmware_path_that_does_not_exist_for_init_is_found(shell: Shell) -> None:
    (finding,) = shell.firmware.findings("firmware")
    assert (finding.rule, finding.severity) == ("NX-FIRMWARE-PATH", Severity.LOW)
    assert finding.title == "firmware_class.path is /no/such, which does not exist for init"


def test_a_helper_that_a_kworker_waits_for_is_named_with_its_arguments(shell: Shell) -> None:
    facts = shell.helpers.facts("umh")
    by_alias = {helper.argv[3]: helper for helper in facts.waiting}
    assert set(by_alias) == {"net-pf-9", "net-pf-24"}
    # argv[0] is modprobe_path itself, whatever was executed: the trap that the plugin documents.
    assert shell.sleeper[1:] == by_alias["net-pf-9"].argv[1:] == ["-q", "--", "net-pf-9"]
    assert (shell.sleeper[0], by_alias["net-pf-9"].argv[0]) == ("/umh-sleeper", "/f/modprobe")
    assert facts.modprobe_path == "/f/modprobe"
    workers = {helper.worker.address for helper in facts.waiting}
    parents = {task.ppid for task in helpers_in(shell.helpers)} - {2}
    assert {task.pid for task in shell.helpers.snapshot.tasks if task.address in workers} == parents
    assert shell.helpers.unclaimed("umh") == []


def test_a_helper_in_a_namespace_of_its_own_is_found_and_no_other(shell: Shell) -> None:
    elsewhere = {pid for pid, namespace in shell.namespaces.items() if namespace != shell.namespaces[1]}
    helpers = helpers_in(shell.helpers)
    assert len(helpers) == 3
    assert len(elsewhere) == 1
    assert {task.pid: task.ppid for task in helpers} == {
        pid: parent for pid, parent in shell.parents.items() if pid != 1
    }
    (finding,) = shell.helpers.findings("umh")
    assert finding.rule == "NX-UMH-NAMESPACE"
    assert finding.evidence[0].address in {task.address for task in helpers if task.pid in elsewhere}


def test_a_helper_whose_root_is_in_nullfs_is_found(shell: Shell) -> None:
    """Such a kernel would have to be broken: the snapshot is made to say so."""
    seen = Seen(shell.helpers.snapshot.model_copy(deep=True), [shell.helpers.plugin("umh")], [])
    fs_structs = {fs.address: fs for fs in seen.snapshot.fs_structs}
    (before_exec,) = [task for task in helpers_in(seen) if task.has_flag(0x40)]
    fs = fs_structs[before_exec.owned_fs or 0]
    assert fs.root is not None
    # A copy: one PathRef stands for all who are in that place.
    fs.root = fs.root.model_copy(update={"placement": Placement.NULLFS})
    (finding,) = [finding for finding in seen.findings("umh") if finding.rule == "NX-UMH-NULLFS"]
    assert finding.severity is Severity.HIGH
    assert finding.evidence == [
        Reference(kind="task", address=before_exec.address, label=f"{before_exec.comm} ({before_exec.pid})")
    ]


def test_a_root_switched_by_halves_is_found(shell: Shell) -> None:
    assert shell.helpers.findings("init") == []
    (finding,) = shell.half_switched.findings("init")
    assert finding.rule == "NX-INIT-HALF-SWITCHED"
    facts = shell.half_switched.facts("init")
    (top,) = [mount for mount in shell.half_switched.snapshot.mounts if mount.source == "newroot"]
    assert facts.visible_root == top.address


@pytest.mark.parametrize(
    ("placement", "rule"),
    [
        (Placement.NULLFS, "NX-INIT-NOWHERE"),
        (Placement.NULLFS_NS_ROOT, "NX-INIT-NOWHERE"),
        (Placement.DETACHED, "NX-INIT-DETACHED"),
    ],
)
def test_an_init_whose_root_is_nowhere_is_found(shell: Shell, placement: Placement, rule: str) -> None:
    facts = shell.healthy.facts("init").model_copy(deep=True)
    assert isinstance(facts.kernel_root, PathRef)
    facts.kernel_root.placement = placement
    plugin = shell.healthy.plugin("init")
    assert [finding.rule for finding in plugin.audit(shell.healthy.snapshot, facts)] == [rule]


def test_a_kdevtmpfs_on_init_fs_or_in_nullfs_or_with_waiting_requests_is_found(shell: Shell) -> None:
    plugin = shell.healthy.plugin("devtmpfs")
    snapshot = shell.healthy.snapshot.model_copy(deep=True)
    facts = plugin.facts.model_validate(
        {**snapshot.plugins["devtmpfs"], "requests": [{"name": "sda", "removes": False}]}
    )
    task = next(task for task in snapshot.tasks if task.comm == "kdevtmpfs")
    task.state = "D"
    assert [finding.rule for finding in plugin.audit(snapshot, facts)] == ["NX-DEVTMPFS-REQUESTS"]
    task.state = "S"
    facts = shell.healthy.facts("devtmpfs")
    fs = next(fs for fs in snapshot.fs_structs if fs.address == task.owned_fs)
    assert fs.root is not None
    fs.root.fstype, fs.root.placement = "nullfs", Placement.NULLFS
    assert [finding.rule for finding in plugin.audit(snapshot, facts)] == ["NX-DEVTMPFS-ROOT"]
    task.owner = Owner.INIT_FS
    assert [finding.rule for finding in plugin.audit(snapshot, facts)] == ["NX-DEVTMPFS-SHARED-FS"]
    assert not plugin.claims(task, snapshot.kernel.generation)


def chosen(found: str, name: str = "setting") -> KernelSetting:
    """A path looked up by hand."""
    return KernelSetting.model_validate(
        {"name": name, "value": "/x", "path": "/x", "found": found, "target": None}
    )


def in_function(shell: Shell, comm: str, function: str) -> Snapshot:
    """The healthy snapshot, with a kernel thread that a stack shows in that function."""
    snapshot = shell.healthy.snapshot.model_copy(deep=True)
    task = next(task for task in snapshot.tasks if task.comm == comm)
    task.stack = [StackFrame(function=function, source=None, inlined=False, opens_scope=False)]
    return snapshot


def test_a_kernel_thread_that_reads_a_path_from_nullfs_is_found_where_there_are_stacks(shell: Shell) -> None:
    """No such thread can be caught in a guest: the lookup fails at once."""
    firmware, ima = shell.healthy.plugin("firmware"), shell.healthy.plugin("ima")
    snapshot = in_function(shell, "kauditd", "kernel_read_file_from_path")
    (finding,) = firmware.audit(snapshot, shell.healthy.facts("firmware"))
    assert finding.rule == "NX-FIRMWARE-NO-BORROW"
    assert finding.title.startswith("kauditd (")
    assert list(ima.audit(snapshot, shell.healthy.facts("ima"))) == []
    snapshot = in_function(shell, "kauditd", "integrity_load_x509")
    assert [finding.rule for finding in ima.audit(snapshot, shell.healthy.facts("ima"))] == ["NX-IMA-KTHREAD"]


def test_firmware_asked_for_where_no_directory_exists_is_found(shell: Shell) -> None:
    """Debian's kernel has no asynchronous request that works without hardware: the facts are made by hand."""
    plugin, facts = shell.healthy.plugin("firmware"), shell.healthy.facts("firmware").model_copy(deep=True)
    facts.requests = ["lab/blob.bin"]
    (finding,) = plugin.audit(shell.healthy.snapshot, facts)
    assert (finding.rule, finding.severity) == ("NX-FIRMWARE-NO-DIRECTORY", Severity.MEDIUM)
    facts.directories[3].now = chosen("not cached")
    assert list(plugin.audit(shell.healthy.snapshot, facts)) == []


def test_facts_that_could_not_be_read_are_said_to_be_unchecked(shell: Shell) -> None:
    plugin, facts = shell.healthy.plugin("firmware"), shell.healthy.facts("firmware").model_copy(deep=True)
    facts.missing = ["fw_cache: could not find 'struct fw_priv'"]
    (finding,) = plugin.audit(shell.healthy.snapshot, facts)
    assert (finding.rule, finding.severity) == ("NX-FIRMWARE-INCOMPLETE", Severity.INFO)
    assert "struct fw_priv" in finding.title


def test_an_rnbd_search_path_that_does_not_exist_for_init_is_found(shell: Shell) -> None:
    """Debian's kernel has no RNBD: the facts are made by hand."""
    plugin = plugin_named("rnbd")
    for found, rules in (("no", ["NX-RNBD-SEARCH-PATH"]), ("yes", []), ("not cached", [])):
        facts = plugin.facts.model_validate({"dev_search_path": "/x", "searched": chosen(found)})
        assert [finding.rule for finding in plugin.audit(shell.healthy.snapshot, facts)] == rules


def test_the_kworker_that_unpacks_the_initramfs_is_named_with_its_function() -> None:
    options = GuestOptions(wait=False, filler_mb=160, append="loglevel=7")
    with Guest.boot("7.3", "unpack", options) as guest:
        guest.console.read_until(rb".*unpack rootfs image as initramfs.*", 120)
        seen = None
        for _ in range(20):
            seen = capture_guest(guest, *EVERYWHERE)
            if seen.borrowers():
                break
            time.sleep(0.1)
        said = bytes(guest.console.log)
    assert seen is not None
    assert b"Freeing initrd memory" not in said  # the kernel says so when it has unpacked
    (borrower,) = seen.borrowers()
    assert borrower.kthread is not None
    assert borrower.kthread.current_func == "async_run_entry_fn"
    assert borrower.owner is Owner.INIT_FS
    facts = seen.facts("initramfs")
    (call,) = [call for call in facts.pending if call.function == "do_populate_rootfs"]
    assert (call.worker.address, call.cookie) == (borrower.address, facts.cookie)
    assert facts.system_state != "running"
    assert seen.rules("initramfs") == ["NX-INITRAMFS-BORROWER", "NX-INITRAMFS-UNPACKING"]
    for finding in seen.findings("initramfs"):
        assert borrower.name in finding.title
        assert finding.severity is Severity.INFO
    assert "do_populate_rootfs" in " ".join(finding.title for finding in seen.findings("initramfs"))
    facts.system_state = "running"
    late = [f.rule for f in seen.plugin("initramfs").audit(seen.snapshot, facts)]
    assert "NX-INITRAMFS-LATE" in late
