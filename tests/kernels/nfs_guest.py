"""A guest that is an NFS server, its own client, and has a cache: how it is set up, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from drgn import Object
from drgn.helpers.linux.list import list_for_each_entry

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import (
    Snapshot,
)
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.lab import Guest
from tests.kernels.poked_guest import Poked
from tests.kernels.subsystems import Seen, plugin_named, run_steps, wait_until

__all__ = (
    "NFSD",
    "READ_ONLY",
    "RPC",
    "Nfs",
    "bind_cache",
    "found_exports",
    "give_layout",
    "listed_caches",
    "listed_exports",
    "listed_states",
    "listed_threads",
    "mount_client",
    "serve_nfs",
    "start_nfsd",
)

NFSD, RPC = "/proc/fs/nfsd", "/proc/net/rpc"
FOREVER = 2147483647
READ_ONLY = 8193  # NFSEXP_READONLY | NFSEXP_FSID
CACHE_COMMANDS = (
    *("dir /cache/c", "tag lab", "brun 7%", "bcull 5%", "bstop 1%", "frun 7%", "fcull 5%", "fstop 1%"),
    "bind",
)


@dataclass(frozen=True)
class Nfs:
    idle: Seen
    started: Seen
    said: dict[str, str]
    """What the started guest says: file -> text."""
    threads: dict[int, str]
    """pid of each nfsd thread -> its umask, as /proc has them."""
    states: dict[int, tuple[str, str]]
    """pid of each task of the idle server and its client -> its name and state, as /proc has them."""
    caches: dict[str, int]
    """Name of each cache -> its objects, as /proc has them."""
    with_layout: Snapshot
    """The started guest, with a layout driver given to its client in memory."""
    dead: Seen
    flushed: Seen
    stopped: Seen


def start_nfsd(guest: Guest) -> None:
    """Two threads and two exports, without a daemon."""
    run_steps(
        guest,
        "mkdir -p /export /mnt/nfs /cache; mount -t tmpfs tmp-export /export; echo hello >/export/file",
    )
    serve_nfs(guest, {"/": (READ_ONLY, 0), "/export": (9249, 0)})


def serve_nfs(guest: Guest, exports: Mapping[str, tuple[int, int]]) -> None:
    """Two threads that serve these to the guest itself.

    :param exports: directory -> flags and fsid; of two with one fsid, that is the later one's
    """
    run_steps(
        guest,
        f"ip link set lo up; mount -t nfsd nfsd {NFSD}; echo '-3 +4 +4.1 +4.2' >{NFSD}/versions",
        f"echo 10 >{NFSD}/nfsv4gracetime; echo 10 >{NFSD}/nfsv4leasetime",
        f"echo 'tcp 2049' >{NFSD}/portlist; echo 2 >{NFSD}/threads",
        f"echo 'nfsd 127.0.0.1 {FOREVER} *' >{RPC}/auth.unix.ip/channel",
        *(
            f"echo '* {path} {FOREVER} {flags} 65534 65534 {fsid}' >{RPC}/nfsd.export/channel;"
            f" echo '* 1 \\x{fsid:02x}000000 {FOREVER} {path}' >{RPC}/nfsd.fh/channel"
            for path, (flags, fsid) in exports.items()
        ),
    )


def bind_cache(guest: Guest) -> None:
    """A cache without a daemon: a shell keeps its device open."""
    lines = "; ".join(f"echo -n '{command}' >&9 || exit 1" for command in CACHE_COMMANDS)
    run_steps(
        guest,
        "truncate -s 300M /i1 && losetup /dev/loop0 /i1 && mkfs.btrfs -q -K -f /dev/loop0",
        "mount -t btrfs /dev/loop0 /cache && mkdir /cache/c",
        f'sh -c "exec 9<>/dev/cachefiles; {lines}; touch /bound; exec sleep 1000000" >/dev/null 2>&1 &',
    )
    wait_until(guest, "test -e /bound")


def mount_client(guest: Guest) -> None:
    """The client of the guest's own server, which caches; opens wait until the server's grace period is over."""
    options = "addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,fsc"
    run_steps(guest, f"mount -t nfs4 127.0.0.1:/ /mnt/nfs -o {options}")
    assert run_steps(guest, "cat /mnt/nfs/file") == "hello\n"


def listed_caches(guest: Guest) -> dict[str, int]:
    rows = [row.split() for row in run_steps(guest, "cat /proc/fs/fscache/caches").splitlines()[2:] if row]
    return {row[-1]: int(row[3]) for row in rows}


def listed_threads(guest: Guest) -> dict[int, str]:
    line = "for p in $(grep -lx nfsd /proc/[0-9]*/comm); do grep -E '^(Pid|Umask):' ${p%/comm}/status; done"
    words = run_steps(guest, line).split()
    return {
        int(pid): umask
        for key, umask, name, pid in zip(*[iter(words)] * 4, strict=True)
        if (key, name) == ("Umask:", "Pid:")
    }


def listed_states(guest: Guest) -> dict[int, tuple[str, str]]:
    stats = run_steps(guest, "cat /proc/[0-9]*/stat 2>/dev/null || true").splitlines()
    found: dict[int, tuple[str, str]] = {}
    for stat in stats:
        pid, _, rest = stat.partition(" (")
        comm, _, state = rest.rpartition(") ")
        if comm == "nfsd" or comm.startswith("NFSv4"):
            found[int(pid)] = (comm, state[0])
    return found


def listed_exports(text: str) -> set[tuple[str, str]]:
    """(path, client) of each line of nfsd.export/content or /proc/fs/nfsd/exports."""
    rows = [line.split("\t") for line in text.splitlines() if line.startswith("/")]
    return {(path, client.partition("(")[0]) for path, client in rows}


def found_exports(seen: Seen) -> set[tuple[str | None, str | None]]:
    (server,) = seen.facts("nfsd").servers
    return {(export.path.path, export.client) for export in server.exports if export.usable}


def give_layout(guest: Guest, seen: Snapshot) -> Snapshot:
    """Let the client use SCSI layouts, in its memory alone: no server of this guest's hands any out."""
    mount = next(mount for mount in seen.mounts if mount.fstype == "nfs4")
    guest.stop()
    with open_kernel(detect_target(f"physmem:{guest.memory_path}")) as kernel:
        poked, prog = Poked(kernel, guest.memory_path), kernel.prog
        [server] = poked.words((mount.superblock or 0) + poked.offset("super_block", "s_fs_info"))
        nfsv4 = next(module for module in kernel.types.modules.modules() if module.name == "nfsv4")
        symbols = kernel.types.modules.symbols(nfsv4)
        table = next(symbol.address for symbol in symbols if symbol.name == "pnfs_modules_tbl")
        head = Object(prog, "struct list_head", address=table).address_of_()
        drivers = list_for_each_entry("struct pnfs_layoutdriver_type", head, "pnfs_tblid")
        scsi = next(driver for driver in drivers if driver.name.string_() == b"LAYOUT_SCSI")
        at = server + poked.offset("nfs_server", "pnfs_curr_ld")
        with poked.changed((at, scsi.value_().to_bytes(8, "little"))):
            found = capture_snapshot(CaptureRequest.from_kernel(kernel, [plugin_named("pnfs_block")]))
    guest.cont()
    return found
