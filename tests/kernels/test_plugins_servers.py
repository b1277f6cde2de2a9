"""Plugins on the subsystems themselves, loaded and at work in guests of 7.3: ksmbd, LIO, btrfs, helpers, boot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from explorer.analysis.audit import run_audit
from explorer.model import STUCK_S, Owner, Placement, Severity
from tests.kernels.conftest import OLDER
from tests.kernels.lab import Guest
from tests.kernels.lio_guest import LIO, make_disk
from tests.kernels.subsystems import (
    Seen,
    above_info,
    capture_guest,
    capture_stuck,
    read_dump,
    run_steps,
    wait_until,
)

pytestmark = pytest.mark.kernel

PLUGINS = ("btrfs", "devtmpfs", "firmware", "ima", "init", "initramfs", "ksmbd", "lio", "rnbd", "umh")


def mount_share(name: str) -> str:
    return f"mount -t cifs '\\\\127.0.0.1\\{name}' /mnt/{name} -o ip=127.0.0.1,user=root,pass=,vers=3.1.1"


@dataclass(frozen=True)
class Ksmbd:
    idle: Seen
    connected: Seen
    shares: set[str]
    """What the client's kernel says that it is connected to."""
    dead: Seen
    stuck: Seen
    renamed: Seen
    replaced: Seen
    pivoted: Seen


def start_ksmbd(guest: Guest) -> None:
    run_steps(
        guest,
        "ip link set lo up; mkdir -p /run /share /dead /covered /gone /f "
        "/mnt/pub /mnt/dead /mnt/covered /mnt/gone /mnt/hang; mount -t tmpfs tmp-dead /dead && mkdir /dead/sub",
        "echo hello > /share/file",
        "ksmbd.mountd -n -c /etc/ksmbd/ksmbd.conf -u /etc/ksmbd/ksmbdpwd.db </dev/null >/dev/null 2>&1 &",
    )
    wait_until(guest, "grep -q '2 running 445' /sys/class/ksmbd-control/stats")


@pytest.fixture(scope="module")
def ksmbd() -> Iterator[Ksmbd]:
    with Guest.boot("7.3", "ksmbd") as guest:
        start_ksmbd(guest)
        idle = capture_guest(guest, *PLUGINS)
        run_steps(guest, *map(mount_share, ("pub", "dead", "covered", "gone")))
        assert run_steps(guest, "cat /mnt/pub/file") == "hello\n"
        listing = run_steps(guest, "cat /proc/fs/cifs/DebugData")
        shares = {
            line.split("\\")[-1].split()[0].lower() for line in listing.splitlines() if "\\\\127" in line
        }
        connected = capture_guest(guest, *PLUGINS)
        run_steps(guest, "umount -l /dead; mount -t tmpfs tmp-cover /covered; stat /covered")
        dead = capture_guest(guest, *PLUGINS)
        run_steps(guest, "/init lab-fuse /f", f"{mount_share('hang')} >/dev/null 2>&1 &")
        stuck = capture_stuck(guest, "ksmbd_share_config_get", *PLUGINS)
        run_steps(guest, "mv /share /share-old; ls /share || true; rmdir /gone")
        renamed = capture_guest(guest, *PLUGINS)
        run_steps(guest, "mkdir /share; ls /share")
        replaced = capture_guest(guest, *PLUGINS)
        # PID 1 goes with its root: no program is found after this
        run_steps(
            guest,
            "mkdir /new; mount -t tmpfs new /new && mkdir /new/old; cd /new && busybox pivot_root . old",
        )
        pivoted = capture_guest(guest, *PLUGINS)
        yield Ksmbd(idle, connected, shares, dead, stuck, renamed, replaced, pivoted)


def test_an_idle_ksmbd_listens_and_has_no_share_and_nothing_is_found(ksmbd: Ksmbd) -> None:
    facts = ksmbd.idle.facts("ksmbd")
    assert (facts.server_state, facts.tcp_port, facts.missing) == (1, 445, [])
    assert (facts.shares, facts.connections, facts.requests) == ([], [], [])
    assert [interface.name for interface in facts.interfaces if interface.up] == ["lo"]
    assert ksmbd.idle.findings("ksmbd") == []
    assert {task.kthread.threadfn for task in ksmbd.idle.spoken_for("ksmbd") if task.kthread} >= {
        "ksmbd_kthread_fn [ksmbd]"
    }
    assert ksmbd.idle.unclaimed("ksmbd") == []


def test_connected_shares_are_those_the_client_is_connected_to(ksmbd: Ksmbd) -> None:
    facts = ksmbd.connected.facts("ksmbd")
    assert {share.name for share in facts.shares} == ksmbd.shares
    assert ksmbd.shares == {"pub", "dead", "covered", "gone", "ipc$"}
    paths = {share.name: share.path for share in facts.shares}
    assert paths == {
        "pub": "/share",
        "dead": "/dead/sub",
        "covered": "/covered",
        "gone": "/gone",
        "ipc$": None,
    }
    served = {share.name: share.vfs_path for share in facts.shares}
    assert served["ipc$"] is None
    assert (served["pub"].path, served["pub"].fstype) == ("/share", "rootfs")
    assert (served["dead"].path, served["dead"].fstype) == ("/dead/sub", "tmpfs")
    assert {connection.client for connection in facts.connections} == {"127.0.0.1"}
    assert {connection.status for connection in facts.connections} == {1}
    assert above_info(ksmbd.connected.findings("ksmbd")) == []
    assert ksmbd.connected.unclaimed("ksmbd") == []
    assert facts.missing == []


def test_a_share_on_a_lazily_unmounted_filesystem_is_found_and_no_other(ksmbd: Ksmbd) -> None:
    served = {share.name: share.vfs_path for share in ksmbd.dead.facts("ksmbd").shares}
    assert served["dead"].placement is Placement.DETACHED
    assert served["pub"].placement is Placement.CHROOT
    dead = [finding for finding in ksmbd.dead.findings("ksmbd") if finding.rule == "NX-KSMBD-DEAD-SHARE"]
    assert [finding.title for finding in dead] == ["share dead (/dead/sub) serves a mount that is detached"]


def test_a_share_whose_path_was_mounted_over_serves_something_else(ksmbd: Ksmbd) -> None:
    found = [finding for finding in ksmbd.dead.findings("ksmbd") if finding.rule == "NX-KSMBD-OTHER-PATH"]
    assert [finding.title for finding in found] == [
        "share covered serves rootfs:/covered, but /covered is now tmpfs:/covered"
    ]


def findings_of(seen: Seen, share: str) -> list[tuple[str, str]]:
    found = seen.findings("ksmbd")
    return [(finding.rule, finding.title) for finding in found if finding.title.startswith(f"share {share} ")]


def test_a_share_whose_directory_was_renamed_away_is_found(ksmbd: Ksmbd) -> None:
    assert findings_of(ksmbd.stuck, "pub") == []
    assert findings_of(ksmbd.renamed, "pub") == [
        ("NX-KSMBD-GONE-PATH", "share pub serves rootfs:/share-old, but /share does not exist for init")
    ]


def test_a_share_whose_directory_was_removed_is_found(ksmbd: Ksmbd) -> None:
    assert findings_of(ksmbd.stuck, "gone") == []
    assert findings_of(ksmbd.renamed, "gone") == [
        ("NX-KSMBD-GONE-PATH", "share gone serves rootfs:/gone (deleted), but /gone does not exist for init")
    ]


def test_a_share_whose_path_was_pivoted_away_with_the_root_of_init_is_found(ksmbd: Ksmbd) -> None:
    """Its directory is as it was, under another name: /old/share."""
    assert findings_of(ksmbd.pivoted, "pub") == [
        ("NX-KSMBD-GONE-PATH", "share pub serves rootfs:/old/share-old, but /share does not exist for init")
    ]


def test_a_share_whose_directory_was_renamed_and_replaced_serves_the_old_one(ksmbd: Ksmbd) -> None:
    assert findings_of(ksmbd.replaced, "pub") == [
        ("NX-KSMBD-OTHER-PATH", "share pub serves rootfs:/share-old, but /share is now rootfs:/share")
    ]


def test_a_kworker_stuck_in_a_share_lookup_is_named_with_its_function_client_and_path(ksmbd: Ksmbd) -> None:
    stuck = ksmbd.stuck
    (borrower,) = stuck.borrowers()
    assert borrower.kthread is not None
    assert borrower.kthread.current_func == "handle_ksmbd_work [ksmbd]"
    assert (borrower.owner, borrower.state) == (Owner.INIT_FS, "D")
    (request,) = stuck.facts("ksmbd").requests
    assert (request.worker.address, request.client) == (borrower.address, "127.0.0.1")
    (finding,) = [f for f in stuck.findings("ksmbd") if f.rule == "NX-KSMBD-BORROWER"]
    assert "share_config_request" in finding.title
    assert "/f/share" in finding.title
    assert "hang" not in {share.name for share in stuck.facts("ksmbd").shares}
    assert stuck.unclaimed("ksmbd") == []


@dataclass(frozen=True)
class Lio:
    idle: Seen
    backstores: Seen
    dbroot: str
    devices: set[tuple[str, str]]
    """(kind of backstore, serial number), as configfs says."""
    reserved: Seen
    lost: Seen
    stuck: Seen


def make_backstores(guest: Guest) -> None:
    make_disk(guest, 64, "mysn")
    iscsi = f"{LIO}/iscsi/iqn.2026-11.lab:t/tpgt_1"
    run_steps(
        guest,
        f"mkdir -p {LIO}/core/rd_mcp_1/ram && echo rd_pages=64 >{LIO}/core/rd_mcp_1/ram/control",
        f"echo 1 >{LIO}/core/rd_mcp_1/ram/enable; echo ramsn >{LIO}/core/rd_mcp_1/ram/wwn/vpd_unit_serial",
        f"ip link set lo up; mkdir -p {iscsi}/np/127.0.0.1:3260",
    )


def listed_devices(guest: Guest) -> set[tuple[str, str]]:
    """Every backstore of configfs, with its serial number."""
    line = f"for d in {LIO}/core/*_*/*/; do echo $d $(cat $d/wwn/vpd_unit_serial); done"
    found = set()
    for row in run_steps(guest, line).splitlines():
        directory, *_, serial = row.split()
        found.add((directory.split("/")[-3].rpartition("_")[0], serial))
    return found


@pytest.fixture(scope="module")
def lio() -> Iterator[Lio]:
    with Guest.boot("7.3", "lio") as guest:
        run_steps(guest, "mount -t configfs configfs /sys/kernel/config; ls -d /var/target || true")
        idle = capture_guest(guest, *PLUGINS)
        make_backstores(guest)
        dbroot = run_steps(guest, f"cat {LIO}/dbroot").strip()
        devices = listed_devices(guest)
        backstores = capture_guest(guest, *PLUGINS)
        run_steps(guest, "/init lab-prout /dev/sda", "stat /db/pr/aptpl_mysn")
        reserved = capture_guest(guest, *PLUGINS)
        run_steps(guest, "mv /db /db-moved; ls /db/pr || true; umount -l /img")
        lost = capture_guest(guest, *PLUGINS)
        run_steps(
            guest, "mv /db-moved /db", "/init lab-fuse /db/pr", "/init lab-prout /dev/sda >/dev/null 2>&1 &"
        )
        stuck = capture_stuck(guest, "__core_scsi3_write_aptpl_to_file", *PLUGINS)
        yield Lio(idle, backstores, dbroot, devices, reserved, lost, stuck)


def test_a_loaded_target_core_has_a_db_root_that_need_not_exist_and_nothing_is_found(lio: Lio) -> None:
    facts = lio.idle.facts("lio")
    assert facts.db_root == "/var/target"
    assert [backstore for backstore in facts.backstores if backstore.serial] == []
    assert lio.idle.findings("lio") == []
    assert lio.idle.unclaimed("lio") == []


def test_backstores_are_those_of_configfs(lio: Lio) -> None:
    facts = lio.backstores.facts("lio")
    assert facts.db_root == lio.dbroot == "/db"
    found = {(store.backend, store.serial) for store in facts.backstores if store.serial}
    assert found == lio.devices == {("fileio", "mysn"), ("rd_mcp", "ramsn")}
    (fileio,) = [store for store in facts.backstores if store.backend == "fileio"]
    assert (fileio.file_name, fileio.file.path, fileio.file.fstype) == (
        "/img/disk.img",
        "/img/disk.img",
        "tmpfs",
    )
    assert fileio.aptpl_active is False
    assert lio.backstores.findings("lio") == []
    assert lio.backstores.unclaimed("lio") == []
    assert "iscsi_np" in {task.comm for task in lio.backstores.spoken_for("lio")}
    assert facts.missing == []


def test_reservations_that_are_kept_where_init_sees_them_are_no_finding(lio: Lio) -> None:
    (fileio,) = [store for store in lio.reserved.facts("lio").backstores if store.backend == "fileio"]
    assert fileio.aptpl_active is True
    assert fileio.aptpl_file.path == "/db/pr/aptpl_mysn"
    assert fileio.aptpl_file.found == "yes"
    assert above_info(lio.reserved.findings("lio")) == []


def test_reservations_whose_directory_is_gone_and_a_file_on_a_dead_mount_are_found(lio: Lio) -> None:
    assert lio.lost.rules("lio") == ["NX-LIO-APTPL-LOST", "NX-LIO-DEAD-FILE"]


def test_a_kworker_stuck_in_the_aptpl_write_is_named_with_its_function_and_path(lio: Lio) -> None:
    (borrower,) = lio.stuck.borrowers()
    assert borrower.kthread is not None
    assert borrower.kthread.workqueue == "target_submission"
    assert (borrower.owner, borrower.state) == (Owner.INIT_FS, "D")
    (finding,) = [f for f in lio.stuck.findings("lio") if f.rule == "NX-LIO-BORROWER"]
    assert "__core_scsi3_write_aptpl_to_file" in finding.title
    assert "/db/pr/aptpl_mysn" in finding.title
    assert lio.stuck.unclaimed("lio") == []


@dataclass(frozen=True)
class Btrfs:
    mounted: Seen
    uuid: str
    devices: dict[int, str]
    """As ``btrfs filesystem show`` lists them."""
    renamed: Seen
    stuck: Seen


def make_btrfs(guest: Guest) -> tuple[str, dict[int, str]]:
    """Its UUID and devices, as its own tool shows them."""
    run_steps(
        guest,
        "mkdir -p /devs /b /etc; truncate -s 300M /i1 /i2; mknod /devs/loop0 b 7 0; mknod /devs/loop1 b 7 1",
        "losetup /devs/loop0 /i1 && losetup /devs/loop1 /i2",
        "mkfs.btrfs -q -K -f -d raid1 -m raid1 /devs/loop0 /devs/loop1",
        "mount -t btrfs -o device=/devs/loop1 /devs/loop0 /b && dd if=/dev/zero of=/b/file bs=1M count=60; sync",
    )
    listing = run_steps(guest, "btrfs filesystem show /b; stat /devs/loop0 /devs/loop1 >/dev/null")
    rows = [row.split() for row in listing.splitlines() if row.strip().startswith("devid")]
    return listing.split("uuid:")[1].split()[0], {int(row[1]): row[-1] for row in rows}


@pytest.fixture(scope="module")
def btrfs() -> Iterator[Btrfs]:
    with Guest.boot("7.3", "btrfs") as guest:
        uuid, devices = make_btrfs(guest)
        mounted = capture_guest(guest, *PLUGINS)
        run_steps(guest, "mv /devs/loop1 /devs/renamed; ls /devs/loop1 || true")
        renamed = capture_guest(guest, *PLUGINS)
        make_replace(guest)
        stuck = capture_stuck(guest, "update_dev_time", *PLUGINS)
        yield Btrfs(mounted, uuid, devices, renamed, stuck)


def make_replace(guest: Guest) -> None:
    """A replacement that is suspended and resumed: only that runs in a kernel thread."""
    run_steps(
        guest,
        "mv /devs/renamed /devs/loop1; echo 50 >/sys/bus/pseudo/drivers/scsi_debug/delay",
        "btrfs replace start -K -f 2 /dev/sda /b >/dev/null 2>&1",
        "mount -o remount,ro /b",
    )
    wait_until(guest, "! pidof btrfs")
    run_steps(guest, "mount -o remount,rw /b", "/init lab-fuse /devs")


def test_a_mounted_btrfs_has_the_devices_that_its_own_tool_lists(btrfs: Btrfs) -> None:
    (filesystem,) = btrfs.mounted.facts("btrfs").filesystems
    assert (filesystem.uuid, filesystem.mounted) == (btrfs.uuid, True)
    assert {device.devid: device.name for device in filesystem.devices} == btrfs.devices
    assert btrfs.devices == {1: "/devs/loop0", 2: "/devs/loop1"}
    assert filesystem.replace.state == "never started"
    assert btrfs.mounted.findings("btrfs") == []
    assert btrfs.mounted.unclaimed("btrfs") == []
    assert {"btrfs-cleaner", "btrfs-transacti"} <= {task.comm for task in btrfs.mounted.spoken_for("btrfs")}
    assert btrfs.mounted.facts("btrfs").missing == []


def test_a_device_name_that_names_nothing_for_init_is_found(btrfs: Btrfs) -> None:
    (finding,) = btrfs.renamed.findings("btrfs")
    assert finding.rule == "NX-BTRFS-DEVICE-NAME"
    assert "device 2 is called /devs/loop1" in finding.title


def test_btrfs_devrepl_stuck_in_update_dev_time_is_named_with_its_path(btrfs: Btrfs) -> None:
    (borrower,) = btrfs.stuck.borrowers()
    assert borrower.kthread is not None
    assert borrower.kthread.threadfn == "btrfs_dev_replace_kthread [btrfs]"
    assert (borrower.comm, borrower.owner, borrower.state) == ("btrfs-devrepl", Owner.INIT_FS, "D")
    (finding,) = [f for f in btrfs.stuck.findings("btrfs") if f.rule == "NX-BTRFS-BORROWER"]
    assert "update_dev_time" in finding.title
    assert "/devs/loop1" in finding.title
    (filesystem,) = btrfs.stuck.facts("btrfs").filesystems
    assert filesystem.replace.state == "finished"
    assert btrfs.stuck.unclaimed("btrfs") == []


def test_whole_subsystems_at_work_give_no_finding_from_any_plugin(
    ksmbd: Ksmbd, lio: Lio, btrfs: Btrfs
) -> None:
    for seen in (ksmbd.connected, lio.reserved, btrfs.mounted):
        for name in PLUGINS:
            if seen.state(name) == "loaded":
                assert [(name, finding.title) for finding in above_info(seen.findings(name))] == []
        assert seen.state("rnbd") == "not loaded"


def test_a_borrower_is_the_task_whose_kernel_stack_the_guest_shows_in_that_function(
    ksmbd: Ksmbd, lio: Lio, btrfs: Btrfs
) -> None:
    for seen in (ksmbd.stuck, lio.stuck, btrfs.stuck):
        assert len(seen.in_stack) == 1
        assert [task.pid for task in seen.borrowers()] == seen.in_stack


@dataclass(frozen=True)
class OlderKsmbd:
    seen: Seen
    dumped: Seen
    hanging: Seen
    """A share of which the directory is on a filesystem that does not answer, long after a client asked for it."""


@pytest.fixture(scope="module")
def older_ksmbd(tmp_path_factory: pytest.TempPathFactory) -> OlderKsmbd:
    dump = tmp_path_factory.mktemp("ksmbd") / "dump"
    with Guest.boot("6.12", "ksmbd") as guest:
        start_ksmbd(guest)
        run_steps(guest, mount_share("pub"), mount_share("dead"), "umount -l /dead")
        seen = capture_guest(guest, "ksmbd", dump=dump)
        run_steps(guest, "/init lab-fuse /f", f"{mount_share('hang')} >/dev/null 2>&1 &")
        capture_stuck(guest, "ksmbd_share_config_get", "ksmbd")
        run_steps(guest, f"sleep {STUCK_S + 1:.0f}")
        hanging = capture_stuck(guest, "ksmbd_share_config_get", "ksmbd")
    return OlderKsmbd(seen, read_dump(dump, "ksmbd"), hanging)


def test_6_12_has_the_same_facts_of_ksmbd_and_so_has_its_dump(older_ksmbd: OlderKsmbd) -> None:
    seen, dumped = older_ksmbd.seen, older_ksmbd.dumped
    assert dumped.facts("ksmbd") == seen.facts("ksmbd")
    assert dumped.findings("ksmbd") == seen.findings("ksmbd")
    facts = seen.facts("ksmbd")
    assert {share.name: share.path for share in facts.shares} == {
        "ipc$": None,
        "pub": "/share",
        "dead": "/dead/sub",
    }
    assert [connection.status for connection in facts.connections] == [1]
    assert seen.rules("ksmbd") == ["NX-KSMBD-DEAD-SHARE"]
    assert seen.unclaimed("ksmbd") == []
    assert facts.missing == []


def test_a_kernel_thread_that_hangs_in_a_walk_where_no_kernel_thread_borrows_is_found(
    older_ksmbd: OlderKsmbd,
) -> None:
    hanging = older_ksmbd.hanging
    [pid] = hanging.in_stack
    assert hanging.borrowers() == []
    [finding] = [each for each in run_audit(hanging.snapshot).findings if each.rule == "NX-WALK-HANGS"]
    [worker] = [task for task in hanging.snapshot.tasks if task.pid == pid]
    assert [each.address for each in finding.evidence] == [worker.address]
    assert finding.severity is Severity.HIGH
    assert "has looked up /f/share for 1" in finding.title
    assert "handle_ksmbd_work [ksmbd]" in finding.title


@pytest.mark.parametrize("line", OLDER)
def test_older_kernels_have_the_same_facts_of_lio_and_nobody_borrows(line: str) -> None:
    with Guest.boot(line, "lio") as guest:
        run_steps(guest, "mount -t configfs configfs /sys/kernel/config")
        make_backstores(guest)
        run_steps(guest, "/init lab-prout /dev/sda", "stat /db/pr/aptpl_mysn")
        devices = listed_devices(guest)
        seen = capture_guest(guest, "lio")
    facts = seen.facts("lio")
    assert {(store.backend, store.serial) for store in facts.backstores if store.serial} == devices
    assert [store.serial for store in facts.backstores if store.aptpl_active] == ["mysn"]
    assert (seen.findings("lio"), seen.unclaimed("lio"), facts.missing) == ([], [], [])


@pytest.mark.parametrize("line", OLDER)
def test_older_kernels_have_the_same_facts_of_btrfs(line: str) -> None:
    with Guest.boot(line, "btrfs") as guest:
        uuid, devices = make_btrfs(guest)
        seen = capture_guest(guest, "btrfs")
    facts = seen.facts("btrfs")
    (filesystem,) = facts.filesystems
    assert filesystem.uuid == uuid
    assert {device.devid: device.name for device in filesystem.devices} == devices
    assert (seen.findings("btrfs"), seen.unclaimed("btrfs"), facts.missing) == ([], [], [])
