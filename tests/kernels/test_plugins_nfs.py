"""Plugins on NFS and CacheFiles at work in guests; what no Debian kernel can be brought to do is made by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from explorer.model import (
    Generation,
    KernelSetting,
    Owner,
    Placement,
    Severity,
    Snapshot,
    StackFrame,
    Task,
    TaskKind,
    Walk,
)
from explorer.plugin import Facts
from tests.kernels.conftest import OLDER
from tests.kernels.lab import LINES, Guest, GuestOptions
from tests.kernels.nfs_guest import (
    NFSD,
    RPC,
    Nfs,
    bind_cache,
    found_exports,
    give_layout,
    listed_caches,
    listed_exports,
    listed_states,
    listed_threads,
    mount_client,
    start_nfsd,
)
from tests.kernels.subsystems import above_info, capture_guest, plugin_named, run_steps, wait_until

pytestmark = pytest.mark.kernel

PLUGINS = ("cachefiles", "ccp", "nfs4_referral", "nfsd", "pnfs_block")
LOADED = ("cachefiles", "nfs4_referral", "nfsd", "pnfs_block")


@pytest.fixture(scope="module")
def nfs() -> Iterator[Nfs]:
    with Guest.boot("7.3", "nfsd", GuestOptions(memory_file=True)) as guest:
        idle = capture_guest(guest, *PLUGINS)
        start_nfsd(guest)
        bind_cache(guest)
        mount_client(guest)
        wait_until(guest, "grep -q ' 1 .* lab' /proc/fs/fscache/caches")
        caches, threads, states = listed_caches(guest), listed_threads(guest), listed_states(guest)
        files = (f"{NFSD}/threads", f"{NFSD}/exports", f"{RPC}/nfsd.export/content")
        said = {file: run_steps(guest, f"cat {file}") for file in files}
        started = capture_guest(guest, *PLUGINS)
        with_layout = give_layout(guest, started.snapshot)
        run_steps(guest, "umount -l /export; umount -l /cache")
        dead = capture_guest(guest, *PLUGINS)
        run_steps(guest, f"umount -l /mnt/nfs; echo 9999999999 >{RPC}/nfsd.export/flush")
        flushed = capture_guest(guest, *PLUGINS)
        run_steps(guest, f"echo 0 >{NFSD}/threads")
        stopped = capture_guest(guest, *PLUGINS)
        yield Nfs(idle, started, said, threads, states, caches, with_layout, dead, flushed, stopped)


def test_loaded_modules_that_serve_nothing_give_no_finding(nfs: Nfs) -> None:
    (server,) = nfs.idle.facts("nfsd").servers
    assert (server.running, server.threads, server.exports) == (False, [], [])
    assert nfs.idle.facts("cachefiles").caches == []
    assert nfs.idle.facts("nfs4_referral").clients == []
    for name in LOADED:
        assert (name, nfs.idle.findings(name), nfs.idle.unclaimed(name)) == (name, [], [])
        assert (name, nfs.idle.facts(name).missing) == (name, [])
    assert nfs.idle.state("ccp") == "not loaded"


def test_a_server_and_its_client_and_a_cache_at_work_give_no_finding(nfs: Nfs) -> None:
    for name in LOADED:
        assert (name, nfs.started.findings(name), nfs.started.unclaimed(name)) == (name, [], [])
        assert (name, nfs.started.facts(name).missing) == (name, [])
    assert nfs.started.snapshot.errors == []


def test_an_idle_server_and_callback_thread_is_in_the_state_that_proc_shows(nfs: Nfs) -> None:
    assert {name.split(" ")[0] for name, _ in nfs.states.values()} >= {"nfsd", "NFSv4"}
    found = {
        task.pid: (task.comm, task.state) for task in nfs.started.snapshot.tasks if task.pid in nfs.states
    }
    assert found == nfs.states
    assert {state for _, state in nfs.states.values()} == {"I"}


def test_exports_are_those_that_the_server_shows(nfs: Nfs) -> None:
    exports = found_exports(nfs.started)
    assert exports == {("/", "*"), ("/export", "*")}
    assert exports == listed_exports(nfs.said[f"{RPC}/nfsd.export/content"])
    assert exports == listed_exports(nfs.said[f"{NFSD}/exports"])
    (server,) = nfs.started.facts("nfsd").servers
    found = {export.path.path: (export.path.fstype, export.flags, export.fsid) for export in server.exports}
    assert found == {"/": ("rootfs", 8193, 0), "/export": ("tmpfs", 9249, 0)}
    assert (server.laundromat, server.laundromat_pending) == ("laundromat_main", True)


def test_nfsd_threads_are_those_of_proc_and_have_their_own_umask_and_nullfs_root(nfs: Nfs) -> None:
    (server,) = nfs.started.facts("nfsd").servers
    assert server.nrthreads == int(nfs.said[f"{NFSD}/threads"]) == 2
    tasks = nfs.started.spoken_for("nfsd")
    assert {task.pid: "0000" for task in tasks} == nfs.threads
    assert {thread.address for thread in server.threads} == {task.address for task in tasks}
    for task in tasks:
        fs = nfs.started.snapshot.fs_by_address[task.owned_fs or 0]
        assert (task.owner, fs.users, fs.umask) == (Owner.PRIVATE, 1, "0000")
        assert fs.root is not None and fs.pwd is not None
        assert (fs.root.placement, fs.pwd.placement) == (Placement.NULLFS, Placement.NULLFS)
    assert nfs.started.facts("nfsd").init_fs_umask == "0022"


def test_a_stopped_server_has_no_thread(nfs: Nfs) -> None:
    (server,) = nfs.stopped.facts("nfsd").servers
    assert (server.running, server.threads, nfs.stopped.spoken_for("nfsd")) == (False, [], [])
    assert nfs.stopped.findings("nfsd") == []


def test_an_export_of_a_lazily_unmounted_filesystem_is_found_until_the_cache_is_flushed(nfs: Nfs) -> None:
    (finding,) = nfs.dead.findings("nfsd")
    assert (finding.rule, finding.severity) == ("NX-NFSD-DEAD-EXPORT", Severity.HIGH)
    assert finding.title == "the export of tmpfs:/ to * is on a mount that is detached"
    assert found_exports(nfs.flushed) == set()
    assert nfs.flushed.findings("nfsd") == []


def test_caches_are_those_of_proc_with_their_objects(nfs: Nfs) -> None:
    (cache,) = nfs.started.facts("cachefiles").caches
    assert {cache.name: cache.objects} == nfs.caches == {"lab": 1}
    assert (cache.directory, cache.state, cache.dead, cache.daemon) == ("/cache/c", "active", False, True)
    assert (cache.store.path, cache.store.fstype) == ("/cache/c/cache", "btrfs")


def test_a_cache_on_a_lazily_unmounted_filesystem_is_found(nfs: Nfs) -> None:
    (finding,) = nfs.dead.findings("cachefiles")
    assert (finding.rule, finding.severity) == ("NX-CACHEFILES-DEAD-MOUNT", Severity.MEDIUM)
    assert finding.title == "cache lab (/cache/c) is on a mount that is detached"


def test_the_client_names_its_server_its_layout_drivers_and_its_own_threads(nfs: Nfs) -> None:
    facts = nfs.started.facts("pnfs_block")
    assert {"LAYOUT_BLOCK_VOLUME", "LAYOUT_SCSI"} <= set(facts.drivers)
    assert facts.servers == []  # mounted without pNFS
    (client,) = nfs.started.facts("nfs4_referral").clients
    assert (client.host, client.minor) == ("127.0.0.1", 2)
    assert nfs.started.facts("nfs4_referral").referrals == []
    assert {task.comm for task in nfs.started.spoken_for("nfs4_referral")} == {"NFSv4 callback"}
    assert {"kworker/R-nfsio", "kworker/R-rpcio"} <= {
        task.comm for task in nfs.started.spoken_for("pnfs_block")
    }


@pytest.mark.parametrize("line", OLDER)
def test_older_kernels_have_the_same_facts(line: str) -> None:
    with Guest.boot(line, "nfsd") as guest:
        start_nfsd(guest)
        bind_cache(guest)
        run_steps(guest, "umount -l /export")
        threads, caches = listed_threads(guest), listed_caches(guest)
        content = run_steps(guest, f"cat {RPC}/nfsd.export/content")
        seen = capture_guest(guest, *LOADED)
    (server,) = seen.facts("nfsd").servers
    assert (server.nrthreads, len(server.threads), server.laundromat) == (2, 2, "laundromat_main")
    tasks = seen.spoken_for("nfsd")
    assert {task.pid: "0000" for task in tasks} == threads
    assert {task.owner for task in tasks} == {Owner.PRIVATE}
    assert len(server.exports) == len([row for row in content.splitlines() if row.startswith("/")]) == 2
    assert found_exports(seen) == listed_exports(content)
    assert {cache.name: cache.objects for cache in seen.facts("cachefiles").caches} == caches == {"lab": 0}
    assert seen.rules("nfsd") == ["NX-NFSD-DEAD-EXPORT"]
    for name in LOADED:
        assert (name, seen.unclaimed(name), seen.facts(name).missing) == (name, [], [])
        assert name == "nfsd" or seen.findings(name) == []


@pytest.mark.parametrize("line", LINES)
def test_a_kernel_without_these_modules_says_not_loaded(line: str) -> None:
    with Guest.boot(line, "healthy") as guest:
        seen = capture_guest(guest, *PLUGINS)
    assert {name: seen.state(name) for name in PLUGINS} == dict.fromkeys(PLUGINS, "not loaded")
    assert seen.tracebacks == []


def by_hand(nfs: Nfs) -> Snapshot:
    """The healthy snapshot, to be changed into what no sound kernel does."""
    return nfs.started.snapshot.model_copy(deep=True)


def rules(nfs: Nfs, name: str, snapshot: Snapshot, facts: Facts | None = None) -> list[str]:
    plugin = nfs.started.plugin(name)
    return [finding.rule for finding in plugin.audit(snapshot, facts or nfs.started.facts(name))]


def put_in(task: Task, function: str, workqueue: str | None = None, path: str | None = None) -> None:
    """Have the task's stack show it in that function, on behalf of that workqueue, looking that path up."""
    task.stack = [StackFrame(function=function, source=None, inlined=False, opens_scope=False)]
    task.walk = Walk(path=path, root=None, start=None, in_init=False) if path else None
    if workqueue is not None and task.kthread is not None:
        task.kthread.workqueue = workqueue


def worker_in(snapshot: Snapshot) -> Task:
    return next(task for task in snapshot.tasks if task.kind is TaskKind.KWORKER)


def test_an_nfsd_thread_that_shares_its_fs_struct_is_found(nfs: Nfs) -> None:
    snapshot, facts = by_hand(nfs), nfs.started.facts("nfsd")
    task = next(task for task in snapshot.tasks if task.comm == "nfsd")
    snapshot.fs_by_address[task.owned_fs or 0].users = 2
    assert rules(nfs, "nfsd", snapshot, facts) == ["NX-NFSD-SHARED-FS"]


def test_an_export_that_waits_for_an_answer_is_none_yet(nfs: Nfs) -> None:
    facts = nfs.dead.facts("nfsd").model_copy(deep=True)
    for export in facts.servers[0].exports:
        export.usable = False
    assert rules(nfs, "nfsd", by_hand(nfs), facts) == []


@pytest.mark.parametrize("function", ["bl_open_path", "bdev_file_open_by_path"])
def test_a_kworker_that_opens_a_pnfs_device_without_a_borrow_is_found(nfs: Nfs, function: str) -> None:
    snapshot = by_hand(nfs)
    worker = worker_in(snapshot)
    put_in(worker, function, "nfsiod", "/dev/disk/by-id/x")
    (finding,) = nfs.started.plugin("pnfs_block").audit(snapshot, nfs.started.facts("pnfs_block"))
    assert (finding.rule, finding.severity) == ("NX-PNFS-BLOCK-NO-BORROW", Severity.HIGH)
    assert finding.title.startswith(f"{worker.comm} ({worker.pid}) opens a disk by its path")


def test_a_kworker_that_borrows_in_bl_open_path_is_only_named(nfs: Nfs) -> None:
    snapshot = by_hand(nfs)
    worker = worker_in(snapshot)
    put_in(worker, "bl_open_path", "writeback", "/dev/disk/by-id/x")
    worker.borrowing = True
    (finding,) = nfs.started.plugin("pnfs_block").audit(snapshot, nfs.started.facts("pnfs_block"))
    assert (finding.rule, finding.severity) == ("NX-PNFS-BLOCK-BORROWER", Severity.INFO)


def test_other_workers_that_open_a_device_are_not_those_of_pnfs(nfs: Nfs) -> None:
    snapshot = by_hand(nfs)
    put_in(worker_in(snapshot), "bdev_file_open_by_path", "events", "/dev/sda")
    assert rules(nfs, "pnfs_block", snapshot) == []


def test_a_kernel_thread_that_follows_a_referral_is_found_and_a_program_is_not(nfs: Nfs) -> None:
    snapshot = by_hand(nfs)
    put_in(next(task for task in snapshot.tasks if task.pid == 1), "nfs4_submount [nfsv4]", path="/mnt/x")
    assert rules(nfs, "nfs4_referral", snapshot) == []
    put_in(worker_in(snapshot), "nfs4_submount [nfsv4]", path="/mnt/x")
    assert rules(nfs, "nfs4_referral", snapshot) == ["NX-NFS4-REFERRAL-KTHREAD"]


def test_where_kernel_threads_have_inits_root_they_may_open_devices_and_follow_referrals(nfs: Nfs) -> None:
    snapshot = by_hand(nfs)
    snapshot.kernel.generation = Generation.NULLFS_ROOTFS
    put_in(worker_in(snapshot), "bl_open_path", "nfsiod", "/dev/disk/by-id/x")
    assert rules(nfs, "pnfs_block", snapshot) == []
    put_in(worker_in(snapshot), "nfs4_submount", path="/mnt/x")
    assert rules(nfs, "nfs4_referral", snapshot) == []


def test_a_path_walk_in_a_worker_of_the_cache_is_found_and_elsewhere_is_not(nfs: Nfs) -> None:
    snapshot = by_hand(nfs)
    put_in(worker_in(snapshot), "vfs_path_lookup", "events", "/x")
    assert rules(nfs, "cachefiles", snapshot) == []
    put_in(worker_in(snapshot), "vfs_path_lookup", "fscache", "/x")
    assert rules(nfs, "cachefiles", snapshot) == ["NX-CACHEFILES-WALK"]


def looked_up(found: str) -> KernelSetting:
    return KernelSetting.model_validate(
        {"name": "init_ex_path", "value": "/x/y", "path": "/x", "found": found, "target": None}
    )


@pytest.mark.parametrize(
    ("directory", "file", "rule"),
    [
        ("no", "no", ["NX-CCP-NO-DIRECTORY"]),
        ("yes", "no", ["NX-CCP-NO-FILE"]),
        ("yes", "yes", []),
        ("yes", "not cached", []),
    ],
)
def test_a_sev_file_that_init_does_not_have_is_found(
    nfs: Nfs, directory: str, file: str, rule: list[str]
) -> None:
    """Debian's kernel has no ccp: the facts are made by hand."""
    plugin = plugin_named("ccp")
    facts = plugin.facts.model_validate(
        {"init_ex_path": "/x/y", "now": looked_up(file), "directory": looked_up(directory)}
    )
    findings = list(plugin.audit(nfs.started.snapshot, facts))
    assert [finding.rule for finding in findings] == rule
    assert len(above_info(findings)) == rule.count("NX-CCP-NO-DIRECTORY")


def test_a_program_that_borrows_for_sev_is_named(nfs: Nfs) -> None:
    snapshot = by_hand(nfs)
    task = next(task for task in snapshot.tasks if task.pid == 1)
    put_in(task, "open_file_as_root", path="/x/y")
    task.borrowing = True
    plugin = plugin_named("ccp")
    facts = plugin.facts.model_validate({"init_ex_path": None, "now": None, "directory": None})
    assert [finding.rule for finding in plugin.audit(snapshot, facts)] == ["NX-CCP-BORROWER"]


def test_a_mount_whose_client_has_a_layout_driver_is_listed_though_nfs_knows_its_type_by_name_alone(
    nfs: Nfs,
) -> None:
    facts = nfs.with_layout.plugins["pnfs_block"]
    assert facts["missing"] == []
    assert [server["label"] for server in facts["servers"]] == ["127.0.0.1 (LAYOUT_SCSI)"]


def test_a_worker_that_writes_back_and_opens_a_disk_borrowed_is_claimed(nfs: Nfs) -> None:
    snapshot = nfs.started.snapshot.model_copy(deep=True)
    worker = next(task for task in snapshot.tasks if task.kind is TaskKind.KWORKER)
    assert worker.kthread is not None
    worker.kthread.current_func, worker.kthread.workqueue = "wb_workfn", "writeback"
    worker.fs, worker.borrowing = snapshot.kernel.userspace_init_fs, True
    worker.walk = Walk(path="/dev/disk/by-id/wwn-0x5000", root=None, start=None, in_init=False)
    assert rules(nfs, "pnfs_block", snapshot) == ["NX-PNFS-BLOCK-BORROWER"]
    worker.walk = Walk(path="/srv/file", root=None, start=None, in_init=False)
    assert rules(nfs, "pnfs_block", snapshot) == []
