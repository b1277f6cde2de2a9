"""The diff of two snapshots: one change made, one change told, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.analysis.diff.changes import find_changes
from explorer.analysis.diff.comparison import Sign, compare_snapshots
from explorer.analysis.diff.matching import is_same_boot, worker_group
from explorer.analysis.diff.snapshots import diff_snapshots
from explorer.codec.snapshots import write_json
from explorer.model import (
    CaptureError,
    Container,
    ContainerRuntime,
    Owner,
    Placement,
    Snapshot,
    Task,
    TaskKind,
    task_name,
)
from explorer.model.diff import SnapshotDiff
from explorer.output.diff import diff_json, render_diff
from tests.conftest import Run


@pytest.fixture
def before(fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return copy(fixture_snapshots["isolated"])


@pytest.fixture
def after(before: Snapshot) -> Snapshot:
    return copy(before)


def copy(snapshot: Snapshot) -> Snapshot:
    """A copy that can be changed: nothing remembered of the original."""
    return Snapshot.model_validate(snapshot.model_dump())


def other_boot(snapshot: Snapshot) -> Snapshot:
    """The same tasks on another boot: other pids, addresses and start times."""
    moved = copy(snapshot)
    moved.kernel.boot_time = "2031-01-01T00:00:00+00:00"
    for task in moved.tasks:
        task.start_time = (task.start_time or 0) + 12345
        task.address += 0x1000
        if task.pid > 2:
            task.pid, task.tgid = task.pid + 1000, (task.tgid or 0) + 1000
    return moved


def user(snapshot: Snapshot, owner: Owner = Owner.PRIVATE) -> Task:
    return next(t for t in snapshot.tasks if t.kind is TaskKind.USER and t.owner is owner)


def sections(diff: SnapshotDiff) -> set[str]:
    """What differs at all."""
    names = ("kernel", "came", "went", "changed", "regrouped", "mounts", "mount_namespaces")
    return {name for name in names if getattr(diff, name)}


def test_a_snapshot_does_not_differ_from_itself(fixture_snapshots: dict[str, Snapshot]) -> None:
    for snapshot in fixture_snapshots.values():
        diff = diff_snapshots(snapshot, copy(snapshot))
        assert diff.same_boot
        assert not diff.differs
        assert sections(diff) == set()
        assert "No differences." in render_diff(diff, "a", "b")


def test_another_boot_in_the_same_state_does_not_differ(fixture_snapshots: dict[str, Snapshot]) -> None:
    for snapshot in fixture_snapshots.values():
        diff = diff_snapshots(snapshot, other_boot(snapshot))
        assert not diff.same_boot
        assert (sections(diff), diff.differs) == (set(), False)


def test_a_clock_that_was_set_does_not_make_another_boot(before: Snapshot, after: Snapshot) -> None:
    after.kernel.boot_time = "2031-01-01T00:00:00+00:00"
    assert diff_snapshots(before, after).same_boot


def test_one_boot_is_recognised_by_kernel_address_and_boot_time(before: Snapshot, after: Snapshot) -> None:
    assert before.kernel.boot_time is not None
    assert is_same_boot(before.kernel, after.kernel)
    for name, value in (
        ("build_id", "00"),
        ("init_fs", 0xFFFF_8000_0000_0000),
        ("boot_time", "2031-01-01T00:00:00+00:00"),
        ("boot_time", None),
        ("boot_time", "yesterday"),
        ("boot_time", "2031-01-01T00:00:00"),
    ):
        assert not is_same_boot(before.kernel, before.kernel.model_copy(update={name: value})), name


def test_tasks_that_came_and_went_are_told_even_under_the_same_pid(before: Snapshot, after: Snapshot) -> None:
    gone = user(after)
    gone.start_time = (gone.start_time or 0) + 1
    diff = diff_snapshots(before, after)
    assert [label.pid for label in diff.came] == [label.pid for label in diff.went] == [gone.pid]
    assert sections(diff) == {"came", "went"}


def test_a_task_that_was_read_in_part_comes_and_goes_with_what_is_known_of_it(
    before: Snapshot, after: Snapshot
) -> None:
    task = user(after)
    task.start_time, task.kind, task.owner = (task.start_time or 0) + 1, None, None
    diff = diff_snapshots(before, after)
    (came,) = json.loads(diff_json(diff))["came"]
    assert (came["kind"], came["owner"], came["root"], "borrowing" in came) == (None, None, None, False)
    assert any(f"+ {task.pid} {task.comm} (?): owner ?" in line for line in render_diff(diff, "a", "b"))
    events = find_changes(before, after).events
    assert f"{task.comm} ({task.pid}), ?, root none" in [event.text for event in events]
    added = [each for each in compare_snapshots(before, after).differences if each.sign is Sign.ONLY_B]
    assert [each.after for each in added if each.kind == "task"] == ["?, owner ?, root none"]


def test_each_fact_of_a_task_that_changes_is_told(before: Snapshot, after: Snapshot) -> None:
    task = user(after)
    fs = after.fs_by_address[task.owned_fs or 0]
    assert fs.root is not None
    assert fs.pwd is not None
    task.comm, task.borrowing, fs.umask = "renamed", True, "0777"
    fs.root.placement, fs.root.path, fs.pwd.dentry = Placement.CHROOT, "/else", 0x1000
    task.mnt_ns = next(ns.address for ns in after.mount_namespaces if ns.address != task.mnt_ns)
    diff = diff_snapshots(before, after)
    assert sections(diff) == {"changed"}
    (changed,) = diff.changed
    assert {change.what for change in changed.changes} == {
        "comm",
        "borrowing",
        "umask",
        "root",
        "pwd",
        "mnt_ns",
    }
    assert changed.before.comm == user(before).comm
    text = "\n".join(render_diff(diff, "a", "b"))
    assert "umask: 0022 → 0777" in text
    assert "borrowing: no → yes" in text


def test_a_task_that_went_into_a_container_is_told_and_one_whose_group_was_not_read_is_not(
    before: Snapshot, after: Snapshot
) -> None:
    old, new = user(before), user(after)
    old.cgroup, new.cgroup = "/system.slice/a.service", "/docker/web"
    new.container = Container(runtime=ContainerRuntime.DOCKER, id="web")
    (changed,) = diff_snapshots(before, after).changed
    assert [(change.what, change.before, change.after) for change in changed.changes] == [
        ("cgroup", "/system.slice/a.service", "/docker/web"),
        ("container", "none", "docker web"),
    ]
    events = find_changes(before, after).events
    assert [(event.kind, event.text) for event in events] == [
        ("cgroup changed", f"{task_name(new)}: cgroup: /system.slice/a.service → /docker/web"),
        ("cgroup changed", f"{task_name(new)}: container: none → docker web"),
    ]
    new.cgroup = new.container = None
    assert not diff_snapshots(before, after).differs


def test_across_boots_a_session_and_a_container_made_anew_are_no_other_group(before: Snapshot) -> None:
    after = other_boot(before)
    groups = ("/user.slice/session-1.scope", "/system.slice/docker-0123456789ab.scope")
    later = ("/user.slice/session-7.scope", "/system.slice/docker-ba9876543210.scope")
    for old, new in zip(groups, later, strict=True):
        for task in before.tasks:
            task.cgroup = old
        for task in after.tasks:
            task.cgroup = new
        assert not diff_snapshots(before, after).changed
    user(after).cgroup = "/elsewhere"
    assert [
        change.what for changed in diff_snapshots(before, after).changed for change in changed.changes
    ] == ["cgroup"]


def test_who_joined_and_who_left_an_fs_struct_is_told(before: Snapshot, after: Snapshot) -> None:
    pair = [t for t in after.tasks if t.owner is Owner.SHARED and t.kind is TaskKind.USER]
    mover = next(t for t in pair if len([o for o in pair if o.owned_fs == t.owned_fs]) == 2)
    partner = next(t for t in pair if t.owned_fs == mover.owned_fs and t is not mover)
    host = user(after)
    mover.fs = mover.real_fs = host.owned_fs
    diff = diff_snapshots(before, after)
    groups = {group.sharers[0] if len(group.sharers) == 1 else "joined": group for group in diff.regrouped}
    assert set(groups) == {f"{partner.comm} ({partner.pid})", "joined"}
    assert groups.pop("joined").sharers == [
        f"{t.comm} ({t.pid})" for t in after.tasks if t.pid in (mover.pid, host.pid)
    ]
    (rest,) = groups.values()
    assert rest.left == [f"{mover.comm} ({mover.pid})"]


def test_tasks_that_changed_alike_are_one_entry_in_the_text_and_all_in_the_json(
    before: Snapshot, after: Snapshot
) -> None:
    fs = after.fs_by_address[after.kernel.init_fs or 0]
    fs.umask = "0077"
    diff = diff_snapshots(before, after)
    assert len(diff.changed) == fs.sharers
    text = render_diff(diff, "a", "b")
    assert len([line for line in text if f"{fs.sharers} tasks alike" in line]) == 1
    assert len([line for line in text if line.strip() == "umask: 0022 → 0077"]) == 1


def test_mounts_and_namespaces_that_changed_are_told(before: Snapshot, after: Snapshot) -> None:
    namespace = max(after.mount_namespaces, key=lambda namespace: namespace.nr_mounts or 0)
    inside = [mount for mount in after.mounts if mount.mnt_ns == namespace.address]
    moved = next(mount for mount in inside if mount.address not in (namespace.root, namespace.visible_root))
    moved.mountpoint, moved.flags = "/elsewhere", (moved.flags or 0) ^ 0x40
    namespace.visible_root = moved.address
    diff = diff_snapshots(before, after)
    assert sections(diff) == {"mounts", "mount_namespaces"}
    assert {change.what for change in diff.mounts[0].changes} == {"mountpoint", "options"}
    assert [change.what for change in diff.mount_namespaces[0].changes] == ["visible_root"]
    after.mounts.remove(moved)
    gone = [mount for mount in diff_snapshots(before, copy(after)).mounts if mount.state == "gone"]
    assert [mount.before for mount in gone] == [moved.address]


def test_an_abandoned_userspace_init_fs_is_told_as_a_fact_of_the_kernel(
    before: Snapshot, after: Snapshot
) -> None:
    init = next(task for task in after.tasks if task.pid == 1)
    private = next(fs for fs in after.fs_structs if fs.sharers == 1 and fs.address != init.owned_fs)
    init.fs, init.real_fs, init.owner = private.address, private.address, Owner.PRIVATE
    facts = {
        change.what.value: (change.before, change.after) for change in diff_snapshots(before, after).kernel
    }
    assert facts["PID 1 owns"] == ("userspace_init_fs", "private")
    assert "userspace_init_fs held by user tasks" in facts


def test_across_boots_duplicates_are_numbered_and_workers_are_counted_in_groups(before: Snapshot) -> None:
    after = other_boot(before)
    worker = next(task for task in after.tasks if task.kind is TaskKind.KWORKER)
    after.tasks.append(worker.model_copy(update={"pid": 5000, "comm": "kworker/9:9", "address": 1}))
    twin = user(after)
    after.tasks.append(twin.model_copy(update={"pid": 5001, "address": 2}))
    diff = diff_snapshots(before, copy(after))
    assert [label.pid for label in diff.came] == [5001]
    assert diff.workers
    assert not any(group.differs for group in diff.workers), "one worker more is no difference"
    worker.fs = worker.real_fs = twin.owned_fs
    worker.owner = Owner.SHARED
    groups = [group for group in diff_snapshots(before, copy(after)).workers if group.differs]
    assert [group.name for group in groups] == [worker_group(worker)]


@pytest.mark.parametrize(
    ("comm", "group"),
    [
        ("kworker/0:1", "kworker/N"),
        ("kworker/12:0H", "kworker/NH"),
        ("kworker/u8:3", "kworker/uN"),
        ("kworker/u8:3-events", "kworker/uN"),
        ("mine7", "mineN"),
    ],
)
def test_worker_names_that_differ_in_numbers_only_are_one_group(
    comm: str, group: str, before: Snapshot
) -> None:
    assert worker_group(before.tasks[0].model_copy(update={"comm": comm})) == group


def test_the_json_is_the_documented_model_and_plain_ascii(before: Snapshot) -> None:
    after = other_boot(before)
    after.tasks.append(user(after).model_copy(update={"pid": 7000, "comm": "\x1b[31m\udcff"}))
    text = diff_json(diff_snapshots(before, after))
    assert text.isascii()
    assert SnapshotDiff.model_validate(json.loads(text)).came[0].comm == "\x1b[31m\udcff"
    assert "\x1b" not in "".join(render_diff(diff_snapshots(before, after), "\x1b[1m", "b"))


# The command


def save(snapshot: Snapshot, path: Path) -> None:
    with path.open("wb") as out:
        write_json(snapshot, out)


def test_the_exit_code_says_whether_anything_differs(
    run: Run, before: Snapshot, after: Snapshot, tmp_path: Path
) -> None:
    before.errors.clear()
    after.errors.clear()
    save(before, tmp_path / "a.json")
    user(after).comm = "renamed"
    save(after, tmp_path / "b.json")
    assert run("diff", "a.json", "a.json").returncode == 0
    result = run("diff", "a.json", "b.json")
    assert (result.returncode, result.stderr) == (1, "")
    assert "renamed" in result.stdout
    document = json.loads(run("diff", "a.json", "b.json", "--format", "json").stdout)
    assert document["schema_version"] == 1
    assert document["changed"][0]["changes"][0]["after"] == "renamed"
    assert run("diff", "--core", "a.json", "b.json").stdout == result.stdout
    assert run("diff", "a.json", "absent.json").returncode == 3
    assert run("diff", "a.json").returncode == 2
    assert run("diff", "--core", "a.json", "a.json", "b.json").returncode == 2


def test_values_that_could_not_be_read_outrank_the_differences_found(
    run: Run, before: Snapshot, tmp_path: Path
) -> None:
    before.errors = [CaptureError(where="task 1", what="root", why="fault")]
    save(before, tmp_path / "a.json")
    assert run("diff", "a.json", "a.json").returncode == 4


def test_who_stays_where_it_was_has_not_changed_when_only_pid_1_moved(
    before: Snapshot, after: Snapshot
) -> None:
    paths = [path for fs in after.fs_structs for path in (fs.root, fs.pwd) if path is not None]
    left = [path for path in paths if path.placement is Placement.INIT_ROOT]
    assert len(left) > 4
    for path in left:
        path.placement = Placement.NS_ROOT
    assert not diff_snapshots(before, after).differs
    for path in left:
        path.placement = Placement.DETACHED
    assert diff_snapshots(before, after).differs, "that its mount was unmounted is a change of its own"
