"""Details and the other tables as data: everything can be reached, nothing is lost, nothing is unescaped."""

from __future__ import annotations

from explorer.analysis.mounts.overmounts import overmount_stack
from explorer.model import (
    Finding,
    Reference,
    Severity,
    Snapshot,
    display_width,
    mount_reference,
    task_reference,
)
from explorer.tui.views.details import describe, describe_finding
from explorer.tui.views.details.expressions import drgn_expression
from explorer.tui.views.details.facts import DetailTable, group_reference, place_words, wrap_text
from explorer.tui.views.mounts import mount_rows


def references(snapshot: Snapshot) -> list[Reference]:
    return [
        *map(task_reference, snapshot.tasks),
        *(group_reference(fs, snapshot) for fs in snapshot.fs_structs),
        *map(mount_reference, snapshot.mounts),
        Reference(kind="kernel", address=None, label="kernel"),
        *(Reference(kind="plugin", address=None, label=name) for name in snapshot.plugins),
        *(
            Reference(kind="workqueue", address=queue.address, label=queue.name)
            for queue in snapshot.workqueues
        ),
    ]


def test_every_link_of_every_detail_leads_to_something_in_the_snapshot(saved: Snapshot) -> None:
    followed = 0
    for reference in references(saved):
        for fact in describe(reference, saved).facts:
            assert fact.value.isprintable(), fact
            if fact.target is not None:
                target = describe(fact.target, saved)
                assert all(each.value != "not in this snapshot" for each in target.facts), fact
                followed += 1
    assert followed > len(saved.tasks)


def test_from_a_task_its_fs_struct_its_mount_and_its_namespace_are_a_walk_away(saved: Snapshot) -> None:
    task = next(task for task in saved.tasks if task.pid == 2)
    at = task_reference(task)
    for name, kind in (("fs = real_fs", "fs_struct"), ("root", "mount")):
        fact = next(fact for fact in describe(at, saved).facts if fact.name == name)
        assert fact.target is not None and fact.target.kind == kind
        at = fact.target
    back = [fact.target for fact in describe(at, saved).facts if fact.name == "root of"]
    assert task.address in [target.address for target in back if target is not None]


def test_an_object_that_is_not_there_says_so_instead_of_failing(saved: Snapshot) -> None:
    detail = describe(Reference(kind="task", address=0xDEAD, label="gone"), saved)
    assert [fact.value for fact in detail.facts] == ["0xdead", "not in this snapshot"]


def test_drgn_expressions_name_the_globals_and_give_types_to_addresses(saved: Snapshot) -> None:
    kernel = saved.kernel
    init_fs = Reference(kind="fs_struct", address=kernel.init_fs, label="")
    assert drgn_expression(init_fs, kernel) == 'prog["init_fs"]'
    task = saved.tasks[0]
    assert (
        drgn_expression(task_reference(task), kernel)
        == f'Object(prog, "struct task_struct *", 0x{task.address:x})'
    )
    assert drgn_expression(Reference(kind="setting", address=None, label="x"), kernel) is None


def test_wrapping_a_long_path_keeps_every_character(saved: Snapshot) -> None:
    longest = max((fs.pwd.path or "" for fs in saved.fs_structs if fs.pwd is not None), key=len)
    assert len(longest) > 3000
    for text in (longest, "日本" * 50, "a"):
        for width in (1, 2, 17, 80):
            lines = wrap_text(text, width)
            assert "".join(lines) == text
            assert max(map(display_width, lines)) <= max(width, 2)


def test_lines_end_between_words_and_between_the_parts_of_a_path() -> None:
    for text, width, expected in (
        (
            "yes: it looks up through userspace_init_fs",
            30,
            ["yes: it looks up through ", "userspace_init_fs"],
        ),
        ("0xffff8ee0012773c0  userspace_init_fs", 28, ["0xffff8ee0012773c0  ", "userspace_init_fs"]),
        ("rootfs#2:/usr/lib/modules", 14, ["rootfs#2:/usr", "/lib/modules"]),
        ("x" * 12, 5, ["xxxxx", "xxxxx", "xx"]),
    ):
        assert wrap_text(text, width) == expected


def test_no_line_of_a_detail_breaks_a_name_that_fits_a_line(saved: Snapshot) -> None:
    for task in saved.tasks:
        detail = describe(task_reference(task), saved)
        table = DetailTable(detail, 60, unfolded=frozenset(fact.name for fact in detail.facts))
        shown = "\n".join(table.cells(index)[1].text for index in range(len(table)))
        for fact in detail.facts:
            for word in fact.value.split():
                assert word in shown or len(word) > 30, (task.comm, fact)


def test_a_working_directory_is_no_chroot_and_says_where_it_lies_to_the_root(saved: Snapshot) -> None:
    by_comm = {task.comm: saved.fs_by_address.get(task.owned_fs or 0) for task in saved.tasks}
    words = {}
    for comm in ("chroot", "chroot-cwd-out", "cwd-long", "init", "nx-init"):
        fs = by_comm.get(comm)
        if fs is not None and fs.pwd is not None:
            words[comm] = place_words(fs.pwd, saved, fs.root)
    assert words["chroot"] == "the root"
    assert words["chroot-cwd-out"] == "init-root, outside the root"
    assert words["cwd-long"] == "inside the root"
    for fs in saved.fs_structs:
        if fs.pwd is not None:
            assert "chroot" not in place_words(fs.pwd, saved, fs.root)


def test_a_path_that_the_kernel_will_open_is_said_to_exist_or_not(saved: Snapshot) -> None:
    facts = describe(Reference(kind="kernel", address=None, label="kernel"), saved).facts
    settings = {setting.name: setting.found for setting in saved.settings}
    shown = [fact.value for fact in facts if fact.name in settings]
    assert shown and not any(value.endswith(("(yes)", "(no)")) for value in shown)
    assert any(value.endswith(("(exists)", "(does not exist)")) for value in shown), shown


def test_a_detail_shows_all_of_a_4096_byte_path(saved: Snapshot) -> None:
    task = next(task for task in saved.tasks if task.comm == "cwd-long")
    detail = describe(task_reference(task), saved)
    assert any(map(DetailTable(detail, 80).folded_at, range(100)))
    table = DetailTable(detail, 80, unfolded=frozenset({"fs->pwd"}))
    shown = "".join(
        table.cells(index)[1].text.strip()
        for index in range(len(table))
        if (fact := table.fact_at(index)) is not None and fact.name == "fs->pwd"
    )
    fs = saved.fs_by_address[task.owned_fs or 0]
    assert fs.pwd is not None and fs.pwd.path is not None
    assert fs.pwd.path in shown


def test_every_mount_is_in_the_tree_once_and_the_root_stack_is_bottom_first(saved: Snapshot) -> None:
    shown = [row.mount.address for row in mount_rows(saved) if row.mount is not None]
    assert sorted(shown) == sorted(mount.address for mount in saved.mounts)
    namespace = saved.namespace_by_address[saved.kernel.init_mnt_ns or 0]
    stack = overmount_stack(saved)
    assert stack[0].address == namespace.root
    assert stack[-1].address == namespace.visible_root


def test_a_loop_of_mounts_ends(saved: Snapshot) -> None:
    looped = saved.model_copy(deep=True)
    first, second = overmount_stack(looped)[:2]
    second.overmount, first.parent = first.address, second.address
    assert len(overmount_stack(looped)) == 2
    assert len([row for row in mount_rows(looped) if row.mount is not None]) == len(looped.mounts)


def test_a_findings_evidence_comes_first_and_can_be_followed(saved: Snapshot) -> None:
    task = saved.tasks[3]
    finding = Finding(
        rule="NX-TEST",
        severity=Severity.HIGH,
        title="\x1b[31mevil",
        evidence=[task_reference(task)],
        explanation="why",
        advice="what",
    )
    detail = describe_finding(finding)
    assert detail.title == "high: \\e[31mevil"
    assert detail.facts[0].target == task_reference(task)
