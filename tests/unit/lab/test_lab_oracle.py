"""The oracle's text becomes exactly what the guest's kernel said, and anything else is an error."""

from __future__ import annotations

import pytest

from tests.kernels.lab.errors import LabError
from tests.kernels.lab.oracle import Identity, OracleErrno, parse_mountinfo, parse_oracle

KERNEL = (
    f"K release={b'7.3.4'.hex()} cmdline={b'quiet'.hex()} boot_id={b'ab-cd'.hex()} "
    f"uptime={b'2.5 1.0'.hex()} hz=100"
)
SHARED = "umask=0022 kthread=0 mnt_ns=4026531832 fs=1 root=2f root_id=1021994,0:3,1,2,2147483651,2000"
INIT = f"T pid=1 tgid=1 ppid=0 state=R flags=400100 start=39 comm=6e78 {SHARED} cwd=2f73 cwd_id=1021994,0:3,9,2,-,0"
SIBLING = (
    f"T pid=9 tgid=9 ppid=1 state=S flags=40 start=40 comm={b'a) Z 1 ('.hex()} {SHARED} cwd=!36 "
    "cwd_id=1021994,0:3,7,-,-,0"
)
ZOMBIE = (
    "T pid=10 tgid=10 ppid=1 state=Z flags=40804c start=41 comm= umask=- kthread=0 mnt_ns=!2 fs=1 root=!2 "
    "root_id=!2 cwd=!2 cwd_id=!2"
)
MOUNT = rb"30 2 0:26 /sub /mnt/new\012line\040x rw,nosuid shared:5 master:1 - tmpfs s\134x rw,size=1024k"


def listing(*lines: str) -> str:
    return "\n".join(["NX ORACLE BEGIN", *lines, f"NX ORACLE END {len(lines)}", ""])


def test_values_errnos_and_silence_are_kept_apart() -> None:
    oracle = parse_oracle(listing(KERNEL, SIBLING, INIT, ZOMBIE))
    assert (oracle.release, oracle.cmdline, oracle.boot_id) == ("7.3.4", b"quiet", "ab-cd")
    assert (oracle.uptime_s, oracle.hz) == (2.5, 100)
    init, sibling, zombie = oracle.tasks
    assert init.root_id == Identity(0x1021994, (0, 3), 1, 2, 2147483651, 0x2000)
    assert init.root_id.is_mount_root
    assert init.cwd == b"/s"
    assert init.umask == 0o22
    assert sibling.comm == b"a) Z 1 ("
    assert sibling.cwd == OracleErrno(36)
    assert str(sibling.cwd) == "ENAMETOOLONG"
    assert isinstance(sibling.cwd_id, Identity)
    assert sibling.cwd_id.mnt_id is None
    assert zombie.umask is None
    assert zombie.mnt_ns == OracleErrno(2)
    assert zombie.comm == b""


def test_an_exited_task_shares_no_fs_struct_with_the_living() -> None:
    oracle = parse_oracle(listing(KERNEL, INIT, SIBLING, ZOMBIE))
    assert {key: [task.pid for task in tasks] for key, tasks in oracle.fs_classes.items()} == {1: [1, 9]}


def test_mountinfo_escapes_are_undone_and_every_field_kept() -> None:
    mount = parse_mountinfo(MOUNT)
    assert (mount.mnt_id, mount.parent_id, mount.dev) == (30, 2, (0, 26))
    assert (mount.root, mount.mountpoint) == (b"/sub", b"/mnt/new\nline x")
    assert (mount.options, mount.optional) == ((b"rw", b"nosuid"), (b"shared:5", b"master:1"))
    assert (mount.fstype, mount.source) == (b"tmpfs", b"s\\x")
    assert mount.super_options == (b"rw", b"size=1024k")


def test_an_empty_mount_source_does_not_shift_the_fields() -> None:
    mount = parse_mountinfo(b"1 1 0:2 / / rw - rootfs  rw")
    assert (mount.source, mount.super_options, mount.optional) == (b"", (b"rw",), ())


def test_mounts_are_listed_by_namespace_with_the_task_that_sees_them() -> None:
    oracle = parse_oracle(listing(KERNEL, INIT, f"M 4026531832 1 {MOUNT.hex()}"))
    assert [mount.mnt_id for mount in oracle.mounts[4026531832]] == [30]
    assert oracle.viewers == {4026531832: 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not run from"),
        ("NX ORACLE BEGIN\n" + KERNEL, "does not run from"),
        (listing(KERNEL, INIT).replace("END 2", "END 3"), "has 2 lines"),
        (listing(KERNEL, INIT, "[ 4.2] Out of memory"), "foreign output"),
        (listing(KERNEL, INIT.replace("state=R ", "")), "cannot be parsed"),
        (listing(KERNEL, "M 1 1 " + b"no mountinfo".hex()), "no line of mountinfo"),
        (listing(INIT), "nothing of its kernel"),
        (listing(KERNEL.replace("release=", "release=!2 x=")), "cannot read its release"),
    ],
)
def test_a_cut_or_foreign_listing_is_refused(text: str, message: str) -> None:
    with pytest.raises(LabError, match=message):
        parse_oracle(text)
