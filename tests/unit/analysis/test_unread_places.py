"""A place of which something could not be read is neither inside nor outside of anything."""

from __future__ import annotations

import pytest

from explorer.analysis import run_audit
from explorer.analysis.containment import is_inside
from explorer.model import Snapshot
from tests.unit.audit_states import fs_of, task_of


def test_whoever_works_in_an_unread_place_is_not_said_to_be_outside_of_his_root(isolated: Snapshot) -> None:
    fs = fs_of(isolated, task_of(isolated, "chroot-cwd-out"))
    assert fs.pwd is not None
    assert any(finding.rule == "NX-PWD-OUTSIDE-ROOT" for finding in run_audit(isolated).findings)
    for other in isolated.fs_structs:
        if other.pwd is not None and other.pwd != other.root:
            other.pwd = other.pwd.model_copy(update={"placement": None})
    assert not any(finding.rule == "NX-PWD-OUTSIDE-ROOT" for finding in run_audit(isolated).findings)


@pytest.mark.parametrize(("superblock", "inside"), [(1, False), (None, None)])
def test_a_mount_whose_parent_was_not_read_is_not_the_top_of_its_tree(
    isolated: Snapshot, superblock: int | None, inside: bool | None
) -> None:
    fs = fs_of(isolated, task_of(isolated, "detached-below"))
    assert fs.root is not None and fs.pwd is not None
    mount = isolated.mount_by_address[fs.pwd.mount]
    mount.parent, mount.superblock = None, superblock
    assert is_inside(fs.pwd, fs.root, isolated) is inside
