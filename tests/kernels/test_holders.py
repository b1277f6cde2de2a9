"""Who holds a mount, on real kernels: against what each guest says of its descriptors, programs and mappings."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.analysis.redact import redact_snapshot
from explorer.capture.holders.tables import TaskFiles
from explorer.cli.command import main
from explorer.codec import load_snapshot, write_json
from explorer.model import (
    Attachment,
    HolderKind,
    Severity,
    TaskKind,
    escape_text,
    kernel_bytes,
    kernel_text,
)
from explorer.slicing.cut import record, record_slice
from explorer.slicing.redact import redact_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.compare import disagreements, propagation
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.holders_guest import Scene, boot_scene, capture, findings
from tests.kernels.lab import LINES, Guest

pytestmark = pytest.mark.kernel

#: Task -> how many references it has to the mount of its name, by what.
DEAD = {
    "h-root": {HolderKind.ROOT: 1, HolderKind.PWD: 1},
    "h-pwd": {HolderKind.PWD: 1},
    "h-files": {HolderKind.FILE: 3},
    "h-table": {HolderKind.FILE: 1},
    "h-map": {HolderKind.FILE: 1},
    "h-socket": {HolderKind.SOCKET: 1},
    "h-sent": {},
    "h-mountinfo": {HolderKind.MOUNT_TABLE: 1},
    "h-exe": {HolderKind.FILE: 1},
    "h-upper": {HolderKind.FILE: 1},
}
HOSTILE = "/red\x1b[31m\nline"


@pytest.fixture(scope="module", params=ENDS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp(f"holders-{request.param}-")
    with boot_scene(request.param, kernel_or_skip(request.param), directory) as scene:
        yield scene


def test_all_that_was_said_of_tasks_and_mounts_still_agrees(scene: Scene) -> None:
    """mountinfo too, line by line and field by field."""
    assert disagreements(scene.snapshot, scene.before, scene.after) == []


def test_mountinfo_has_every_form_that_is_compared(scene: Scene) -> None:
    """Else the comparison above would say nothing of shared, slave, unbindable, idmapped or deleted ones."""
    mounts = scene.snapshot.mounts
    words = {word.partition(":")[0] for mount in mounts for word in propagation(mount)}
    assert words == {"shared", "master", "propagate_from", "unbindable"}
    roots = {mount.root for mount in mounts}
    assert roots >= {"/", "/deep", "/deep/under ground", "/file", "/gone//deleted"}
    assert any(re.fullmatch(r"mnt:\[\d+\]", root or "") for root in roots)
    options = {option for mount in mounts for option in mount.options or ()}
    assert options >= {
        "ro",
        "rw",
        "nosuid",
        "nodev",
        "noexec",
        "noatime",
        "nodiratime",
        "relatime",
        "nosymfollow",
    }
    assert ("idmapped" in options) is ("p-idmapped" in scene.states)
    assert ("p-idmapped" in scene.states) is (scene.line != "6.1")  # tmpfs can since 6.3


def test_a_descriptor_program_or_mapping_that_the_guest_tells_is_not_missing_and_no_other_is_there(
    scene: Scene,
) -> None:
    pid_of = {task.address: task.pid for task in scene.asked.tasks}
    pids = set(pid_of.values())
    for mount in scene.asked.mounts:
        if mount.attachment is Attachment.INTERNAL:
            continue
        assert mount.holders is not None
        holders = [holder for holder in mount.holders.holders if holder.kind is HolderKind.FILE]
        assert all(holder.nr_uses == len(holder.uses) for holder in holders)
        found = {(pid_of[use.task], use.how, use.fd) for holder in holders for use in holder.uses}
        # a program is mapped, too: where all is explained without mappings, nobody reads them
        said = {(s.pid, s.how, s.fd) for s in scene.said if s.mnt_id == mount.id and s.pid in pids}
        assert found == said, f"mount {mount.id} ({mount.source})"


def test_a_path_that_is_held_is_as_the_guest_says_byte_by_byte(scene: Scene) -> None:
    mount, holders = scene.dead("h-files")
    said = {(s.fd, s.link) for s in scene.said if s.mnt_id == mount.id}
    found = {(use.fd, kernel_bytes(h.path or "?")) for h in holders.holders for use in h.uses}
    assert found == said
    assert HOSTILE in {holder.path for holder in holders.holders}


def test_no_reference_of_any_mount_is_unexplained_but_the_one_on_its_way_through_a_socket(
    scene: Scene,
) -> None:
    left = {
        mount.source: mount.holders.unexplained
        for mount in scene.asked.mounts
        if mount.holders is not None and mount.holders.unexplained != 0
    }
    assert left == {"h-sent": 1}
    assert {mount.holders.missing for mount in scene.asked.mounts if mount.holders is not None} == {None}


def test_each_dead_mount_is_held_by_what_was_made_to_hold_it_and_by_nothing_else(scene: Scene) -> None:
    for source, expected in DEAD.items():
        _, holders = scene.dead(source)
        kinds = [holder.kind for holder in holders.holders]
        assert {kind: kinds.count(kind) for kind in kinds} == expected, source
        assert holders.unexplained == (1 if source == "h-sent" else 0), source


def test_a_table_of_descriptors_that_processes_share_names_all_of_them(scene: Scene) -> None:
    _, holders = scene.dead("h-table")
    tasks = {task.address: task.comm for task in scene.snapshot.tasks}
    [holder] = holders.holders
    assert sorted((tasks[use.task], use.fd) for use in holder.uses) == [
        ("h-table", 3),
        ("h-table-copy", 3),
        ("h-table-same", 3),
    ]


def test_what_was_unmounted_by_rmdir_with_its_parent_is_held_by_that_and_not_by_a_namespace(
    scene: Scene,
) -> None:
    """Until 7.2 the mount below stays connected; 7.3 lets go of it."""
    lower = [mount for mount in scene.snapshot.mounts if mount.source == "h-lower"]
    upper, _ = scene.dead("h-upper")
    if scene.line == "7.3":
        assert lower == []
        return
    [mount] = lower
    assert mount.holders is not None
    assert [(holder.kind, holder.address) for holder in mount.holders.holders] == [
        (HolderKind.PARENT, upper.address)
    ]
    assert mount.holders.count == 1


def test_an_open_tree_is_held_by_its_descriptor(scene: Scene) -> None:
    task = next(task for task in scene.snapshot.tasks if task.pid == scene.states["h-tree"])
    held = [
        use.fd
        for mount in scene.snapshot.mounts
        if mount.attachment is Attachment.ANONYMOUS and mount.holders is not None
        for holder in mount.holders.holders
        for use in holder.uses
        if use.task == task.address
    ]
    assert held == [3]


def test_namespaces_without_tasks_are_there_with_who_holds_them_on_kernels_without_a_tree_of_them_too(
    scene: Scene,
) -> None:
    lone = {
        space.inum: space
        for space in scene.snapshot.mount_namespaces
        if space.nr_tasks == 0 and not space.anonymous
    }
    told = {
        state: next(
            int(s.link[5:-1])
            for s in scene.said
            if s.pid == scene.states[state] and s.link.startswith(b"mnt:[")
        )
        for state in ("h-ns-opened", "h-ns-tree")
        if state in scene.states
    }
    assert ("h-ns-tree" in scene.skipped) is (scene.line not in ("7.2", "7.3"))
    shown = [mount.root or "" for mount in scene.snapshot.mounts]
    [bound] = [int(root[5:-1]) for root in shown if root.startswith("mnt:[")]
    assert set(lone) >= {bound, *told.values()}
    assert len(lone) == 2 + len(told)  # and that of the open mountinfo
    for state, inum in told.items():
        space = lone[inum]
        assert [(holder.kind, [use.fd for use in holder.uses]) for holder in space.holders or ()] == [
            (HolderKind.FILE, [3])
        ]
        users = {use.task for holder in space.holders or () for use in holder.uses}
        assert [task.pid for task in scene.snapshot.tasks if task.address in users] == [scene.states[state]]
    assert [(holder.kind, holder.path) for holder in lone[bound].holders or ()] == [
        (HolderKind.MOUNT, "/h-ns/bound")
    ]
    [left] = [space for inum, space in lone.items() if inum not in (bound, *told.values())]
    assert [holder.kind for holder in left.holders or ()] == [HolderKind.MOUNT_TABLE]
    for space in lone.values():
        assert space.count == 1
        own = [mount for mount in scene.snapshot.mounts if mount.mnt_ns == space.address]
        assert len(own) == space.nr_mounts


def test_only_for_that_is_said_where_it_is_true_and_everybody_else_is_named(scene: Scene) -> None:
    titles = {finding.title: finding for finding in findings(scene.snapshot)}
    for state in ("h-root", "h-pwd"):
        [title] = [title for title in titles if title.startswith(scene.name(state))]
        assert title.endswith("which was unmounted lazily and lives on only for that")
    for source, words in {
        "h-files": f"for 3 open files of {scene.name('h-files')}",
        "h-map": f"for a file mapped by {scene.name('h-map')}",
        "h-socket": f"for a socket of {scene.name('h-socket')}",
        "h-mountinfo": f"for a mount table opened by {scene.name('h-mountinfo')}",
        "h-exe": f"for the program run by {scene.name('h-exe')}",
        "h-sent": "for 1 reference that nobody was found for",
    }.items():
        [title] = [title for title in titles if f"({source}) was unmounted lazily" in title]
        assert title.endswith(words)
        severity = Severity.INFO if source == "h-sent" else Severity.LOW
        assert titles[title].severity is severity
    assert len([title for title in titles if "no task is in mnt:[" in title]) == 3 + (
        "h-ns-tree" in scene.states
    )


def test_a_saved_snapshot_and_a_slice_say_the_same_of_holders(scene: Scene, tmp_path: Path) -> None:
    saved, cut = tmp_path / "saved.json", tmp_path / "slice"
    with saved.open("wb") as out:
        write_json(scene.snapshot, out)
    loaded = load_snapshot(saved)
    assert loaded.mounts == scene.snapshot.mounts
    assert loaded.mount_namespaces == scene.snapshot.mount_namespaces
    with open_kernel(detect_target(str(scene.dump))) as kernel, cut.open("wb") as out:
        record_slice(kernel, lambda what, done, total: None).write(out)
    sliced = capture(str(cut))
    assert sliced.mounts == scene.snapshot.mounts
    assert sliced.mount_namespaces == scene.snapshot.mount_namespaces
    assert findings(sliced) == findings(scene.snapshot)


def test_a_redacted_slice_keeps_who_holds_what_and_no_name_of_a_file(scene: Scene, tmp_path: Path) -> None:
    cut = tmp_path / "slice"
    with open_kernel(detect_target(str(scene.dump))) as kernel, cut.open("wb") as out:
        redact_slice(record(kernel, lambda what, done, total: None), []).write(out)
    assert b"under ground" not in cut.read_bytes()
    shown = capture(str(cut))
    for mount, redacted in zip(scene.snapshot.mounts, shown.mounts, strict=True):
        assert mount.id == redacted.id
        assert (mount.holders is None) is (redacted.holders is None)
        if mount.holders is not None and redacted.holders is not None:
            assert mount.holders.unexplained == redacted.holders.unexplained
            assert [h.uses for h in mount.holders.holders] == [h.uses for h in redacted.holders.holders]


def test_redaction_replaces_the_paths_that_are_held(scene: Scene) -> None:
    text = json.dumps(redact_snapshot(scene.snapshot).model_dump(mode="json"))
    for word in ("h-exe-prog", "under ground", "opened"):
        assert word not in text


def test_nobodys_descriptors_are_read_where_roots_and_working_directories_explain_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else every capture of a machine with one dead mount would cost as much as its descriptors."""
    with Guest.boot(kernel_or_skip(LINES[-1]), "lively") as guest:
        guest.stop()
        monkeypatch.setattr(TaskFiles, "pointers", lambda *_: pytest.fail("a task's descriptors were read"))
        snapshot = capture(f"qemu:{guest.qmp_socket}")
    dead = [mount.holders for mount in snapshot.mounts if mount.attachment is Attachment.DETACHED]
    assert len(dead) == 3
    assert [holders and holders.unexplained for holders in dead] == [0, 0, 0]


def test_the_command_names_holders_and_its_exit_code_says_if_any_is_missing(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    def holders(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["holders", *arguments])
        return int(ended.value.code or 0), *capsys.readouterr()

    files, _ = scene.dead("h-files")
    sent, _ = scene.dead("h-sent")
    code, out, _ = holders(str(scene.dump), str(files.id))
    assert code == 0
    assert "3 references, all of them found." in out
    assert r"/red\e[31m\nline" in out
    assert "\x1b" not in out
    code, out, _ = holders(str(scene.dump), str(sent.id))
    assert code == 1
    assert "1 reference that nobody was found for" in out
    code, out, _ = holders("-c", str(scene.dump), "/dev", "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert document["mount"]["mountpoint"] == "/dev"
    assert document["unexplained"] == 0
    assert {task["comm"] for task in document["tasks"]} >= {"nx-init"}
    code, out, err = holders(str(scene.dump), "/nowhere")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "there is no mount /nowhere" in err


def rows_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    """What a command writes as CSV."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--format", "csv"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    return list(csv.DictReader(io.StringIO(out)))


def test_the_command_namespaces_has_each_that_the_guest_tells_with_its_tasks_and_those_without_any(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {int(row["inum"]): row for row in rows_of(capsys, "namespaces", str(scene.dump))}
    inside = Counter(task.mnt_ns for task in scene.before.tasks if isinstance(task.mnt_ns, int))
    idle = sum(task.kind is TaskKind.IDLE for task in scene.snapshot.tasks)  # no listing has them
    initial = next(int(row["inum"]) for row in rows.values() if row["initial"] == "yes")
    inside[initial] += idle
    found = {inum: int(row["tasks"]) for inum, row in rows.items() if row["tasks"] != "0"}
    assert found.keys() == inside.keys() == scene.before.mounts.keys()
    moving = sum(task.kind is TaskKind.KWORKER for task in scene.snapshot.tasks)
    assert {inum: count for inum, count in found.items() if inum != initial} == {
        inum: count for inum, count in inside.items() if inum != initial
    }
    assert abs(found[initial] - inside[initial]) <= moving  # kworkers come and go between listing and dump
    opened = next(
        int(said.link[5:-1])
        for said in scene.said
        if said.pid == scene.states["h-ns-opened"] and said.link.startswith(b"mnt:[")
    )
    assert rows[opened]["kept_by"] == f"an open file of {scene.name('h-ns-opened')}"
    [bound] = [mount for mount in scene.snapshot.mounts if (mount.root or "").startswith("mnt:[")]
    pinned = rows[int((bound.root or "")[5:-1])]
    assert (pinned["tasks"], pinned["kept_by"]) == ("0", f"the mount nsfs#{bound.id} on /h-ns/bound")
    for inum, lines in scene.before.mounts.items():
        # Whether another mount lies below / is all that mountinfo tells of it.
        [top] = [line for line in lines if rows[inum]["root_mount_id"] == str(line.mnt_id)]
        assert top.mountpoint == b"/"
        assert (int(rows[inum]["depth"]) > 1) is (top.parent_id != top.mnt_id)


def test_the_command_mounts_has_each_line_of_the_guests_mountinfo_and_besides_what_none_shows(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(capsys, "mounts", str(scene.dump))
    by_id = {int(row["id"]): row for row in rows if row["id"]}
    assert len(by_id) == len(rows)
    told = {line.mnt_id: (inum, line) for inum, lines in scene.before.mounts.items() for line in lines}
    for number, (inum, line) in told.items():
        row = by_id[number]
        shown = tuple(row[name] for name in ("mnt_ns", "dev", "root", "mountpoint", "options", "source"))
        texts = (line.root, line.mountpoint, b",".join(line.options), line.source)
        root, place, options, source = (disarmed(escape_text(kernel_text(text))) for text in texts)
        assert shown == (str(inum), "{}:{}".format(*line.dev), root, place, options, source)
        assert row["propagation"] == (" ".join(word.decode() for word in line.optional) or "private")
        if line.parent_id != number:
            assert row["parent"] == str(line.parent_id)
    others = [row for number, row in by_id.items() if number not in told]
    lone = {str(ns.inum) for ns in scene.snapshot.mount_namespaces if ns.inum not in scene.before.mounts}
    for row in others:
        below = row["hidden"] == "yes"  # of the root: nobody is told of it
        assert below or row["attachment"] != "namespace" or row["mnt_ns"] in lone
    dead = {row["source"] for row in others if row["attachment"] == "detached"}
    assert dead >= DEAD.keys()


def disarmed(cell: str) -> str:
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
