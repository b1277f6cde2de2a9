"""A guest whose NFS server shares its disk with its client: a real SCSI layout, of XFS on a disk of LIO's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kernels.lab import Guest
from tests.kernels.lio_guest import make_disk
from tests.kernels.nfs_guest import READ_ONLY, serve_nfs
from tests.kernels.subsystems import Seen, capture_guest, capture_stuck, run_steps

pytestmark = pytest.mark.kernel

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


def make_export(guest: Guest) -> str:
    """XFS on a disk that has a name of its own, as nfsd asks for; the name."""
    run_steps(guest, "mount -t configfs configfs /sys/kernel/config")
    make_disk(guest, 320, "0123456789abcdef")
    wwid = run_steps(guest, "cat /sys/block/sda/device/wwid").strip().removeprefix("naa.")
    run_steps(
        guest,
        f"mkdir -p /export /mnt/nfs {BY_ID}; ln -s /dev/sda {BY_ID}/wwn-0x{wwid}",
        "mkfs.xfs -q -K -f /dev/sda && mount -t xfs /dev/sda /export && echo hello >/export/file && sync",
    )
    return wwid


@pytest.fixture(scope="module")
def pnfs() -> Iterator[Pnfs]:
    with Guest.boot("7.3", "pnfs") as guest:
        wwid = make_export(guest)
        serve_nfs(guest, {"/": (READ_ONLY, 0), "/export": (PNFS, 1)})
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
