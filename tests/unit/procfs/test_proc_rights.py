"""Reading /proc takes some of root's rights, and nothing else is done with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.unit.targets.test_privilege_drop import (
    NOBODY,
    SUDO,
    as_root,
    assert_without_rights,
    home,
    watched_at,
)

__all__ = ("home",)

#: CAP_SYS_CHROOT, CAP_SYS_PTRACE and CAP_SYS_ADMIN: to look at every task, and to enter every mount namespace.
_NEEDED = 1 << 18 | 1 << 19 | 1 << 21


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
def test_what_proc_tells_is_read_with_the_rights_that_this_takes_and_written_with_none(
    home: Path, tmp_path: Path, caller: dict[str, str]
) -> None:
    uid = NOBODY if caller else 0
    out = (home if caller else tmp_path) / "proc.json"
    with subprocess.Popen(["unshare", "--mount", "sleep", "60"]) as apart:
        try:
            words = ("snapshot", "proc", "-o", out)
            done, threads = watched_at("capture_proc", tmp_path, caller, *words)
            namespaces = {each["inum"] for each in json.loads(out.read_text())["mount_namespaces"]}
            assert Path(f"/proc/{apart.pid}/ns/mnt").stat().st_ino in namespaces, done.stderr
        finally:
            apart.kill()
    assert threads
    for thread in threads:
        assert {int(thread[name], 16) for name in ("CapEff", "CapPrm")} == {_NEEDED}
        assert (thread["Uid"].split()[1], thread["NoNewPrivs"], thread["Seccomp"].strip()) == (
            str(uid),
            "1",
            "2",
        )
    _, threads = watched_at("open_output", tmp_path, caller, *words)
    assert_without_rights(threads, uid)
    assert out.stat().st_uid == uid
    _, threads = watched_at("open_program", tmp_path, caller, "diff", "sample", "proc")
    assert_without_rights(threads, uid)
