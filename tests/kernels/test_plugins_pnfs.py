"""A guest whose NFS server shares its disk with its client: a real SCSI layout, of XFS on a disk of LIO's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kernels.lab import Guest
from tests.kernels.nfs_guest import NFSD, RPC
from tests.kernels.subsystems import Seen, capture_guest, capture_stuck, run_steps, wait_until

pytestmark = pytest.mark.kernel

TARGET = "/sys/kernel/config/target"
FILEIO, LOOP = f"{TARGET}/core/fileio_0/fio", f"{TARGET}/loopback/naa.6001405c3214b06a/tpgt_1"
FOREVER = 2147483647
PNFS = 140288  # NFSEXP_PNFS | NFSEXP_FSID | NFSEXP_NOSUBTREECHECK
MOUNT = "mount -t nfs4 127.0.0.1:/export /mnt/nfs -o addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2"
BY_ID = "/dev/disk/by-id"


@dataclass(frozen=True)
class Pnfs:
    at_work: Seen
    said: str
    """The client's own account: /proc/self/mountstats."""
    wwid: str
    stuck: Seen


def make_disk(guest: Guest) -> str:
    """A disk that has a name of its own, as nfsd asks for; the name."""
    run_steps(
        guest,
        # nfsd and its client register keys with the disk, which LIO keeps in a file
        f"mount -t configfs configfs /sys/kernel/config; mkdir -p /img /db/pr; echo /db >{TARGET}/dbroot",
        "mount -t tmpfs -o size=500m img /img && truncate -s 320M /img/disk",
        f"mkdir -p {FILEIO} && echo fd_dev_name=/img/disk,fd_dev_size=335544320 >{FILEIO}/control",
        f"echo 1 >{FILEIO}/enable; echo 0123456789abcdef >{FILEIO}/wwn/vpd_unit_serial",
        f"mkdir -p {LOOP} && echo naa.6001405c3214b06b >{LOOP}/nexus && mkdir -p {LOOP}/lun/lun_0",
        f"ln -s {FILEIO} {LOOP}/lun/lun_0/l",
    )
    wait_until(guest, "test -b /dev/sda")
    wwid = run_steps(guest, "cat /sys/block/sda/device/wwid").strip().removeprefix("naa.")
    run_steps(
        guest,
        f"mkdir -p /export /mnt/nfs {BY_ID}; ln -s /dev/sda {BY_ID}/wwn-0x{wwid}",
        "mkfs.xfs -q -K -f /dev/sda && mount -t xfs /dev/sda /export && echo hello >/export/file && sync",
    )
    return wwid


def serve(guest: Guest) -> None:
    run_steps(
        guest,
        f"ip link set lo up; mount -t nfsd nfsd {NFSD}; echo '-3 +4 +4.1 +4.2' >{NFSD}/versions",
        f"echo 10 >{NFSD}/nfsv4gracetime; echo 10 >{NFSD}/nfsv4leasetime",
        f"echo 'tcp 2049' >{NFSD}/portlist; echo 2 >{NFSD}/threads",
        f"echo 'nfsd 127.0.0.1 {FOREVER} *' >{RPC}/auth.unix.ip/channel",
        f"echo '* / {FOREVER} 8193 65534 65534 0' >{RPC}/nfsd.export/channel",
        f"echo '* /export {FOREVER} {PNFS} 65534 65534 1' >{RPC}/nfsd.export/channel",
        f"echo '* 1 \\x00000000 {FOREVER} /' >{RPC}/nfsd.fh/channel",
        f"echo '* 1 \\x01000000 {FOREVER} /export' >{RPC}/nfsd.fh/channel",
    )


@pytest.fixture(scope="module")
def pnfs() -> Iterator[Pnfs]:
    with Guest.boot("7.3", "pnfs") as guest:
        wwid = make_disk(guest)
        serve(guest)
        assert run_steps(guest, f"{MOUNT}; cat /mnt/nfs/file") == "hello\n"
        said = run_steps(guest, "cat /proc/self/mountstats")
        at_work = capture_guest(guest, "pnfs_block", "nfsd")
        run_steps(
            guest,
            f"umount /mnt/nfs; /init lab-fuse {BY_ID}; {MOUNT}",
            # whole pages, or the server writes them; nothing is closed before sync: a worker writes them back
            "sh -c 'exec >/mnt/nfs/new; printf %08192d 0; exec sync' 2>/dev/null &",
        )
        stuck = capture_stuck(guest, "bl_open_path", "pnfs_block")
        yield Pnfs(at_work, said, wwid, stuck)


def test_a_client_that_has_a_scsi_layout_is_listed_with_its_driver_and_nothing_is_found(pnfs: Pnfs) -> None:
    assert "pnfs=LAYOUT_SCSI" in pnfs.said
    facts = pnfs.at_work.facts("pnfs_block")
    assert [server.label for server in facts.servers] == ["127.0.0.1 (LAYOUT_SCSI)"]
    for name in ("pnfs_block", "nfsd"):
        assert (name, pnfs.at_work.findings(name), pnfs.at_work.facts(name).missing) == (name, [], [])


def test_a_worker_that_writes_back_and_opens_the_servers_disk_borrows_and_is_named(pnfs: Pnfs) -> None:
    (borrower,) = pnfs.stuck.borrowers()
    assert [borrower.pid] == pnfs.stuck.in_stack
    assert borrower.kthread is not None and borrower.walk is not None
    assert borrower.kthread.current_func == "wb_workfn"
    assert borrower.walk.path == f"{BY_ID}/dm-uuid-mpath-0x{pnfs.wwid}"
    (finding,) = pnfs.stuck.findings("pnfs_block")
    assert finding.rule == "NX-PNFS-BLOCK-BORROWER"
    assert "bl_open_path" in finding.title
