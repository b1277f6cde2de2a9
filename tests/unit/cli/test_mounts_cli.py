"""``mounts`` and ``namespaces``: every form of output, and what a mistake costs."""

from __future__ import annotations

import csv
import io
import json
import stat
from pathlib import Path

import pytest

from explorer.codec import write_json
from explorer.model import Mount, MountNamespace, Snapshot
from tests.conftest import HELD, SAMPLE, Run, capture_file
from tests.unit.audit_states import task_of


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return capture_file(HELD)


@pytest.fixture(scope="module")
def saved(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(snapshot, tmp_path_factory.mktemp("saved") / "held.json")


def save(snapshot: Snapshot, path: Path) -> Path:
    with path.open("wb") as out:
        write_json(snapshot, out)
    return path


def inum_of(snapshot: Snapshot, comm: str) -> str:
    return str(snapshot.namespace_by_address[task_of(snapshot, comm).mnt_ns or 0].inum)


def rows(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out)))


def test_namespaces_are_counted_and_each_has_a_row_with_who_keeps_it(run: Run, saved: Path) -> None:
    done = run("namespaces", saved)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "10 mount namespaces, 4 without a task, 1 anonymous." in lines
    table = lines[lines.index("") + 1 :]
    assert table[0].split() == ["MNT_NS", "TASKS", "MOUNTS", "DEPTH", "ROOT", "KEPT", "BY"]
    assert len(table) == 11
    assert sum("an open file of h-ns-opened" in line for line in table) == 1
    assert sum("the mount nsfs#" in line for line in table) == 1


def test_a_dump_and_its_snapshot_list_the_same_namespaces(run: Run, saved: Path) -> None:
    def table(target: str | Path) -> str:
        return run("namespaces", target).stdout.partition("\n\n")[2]

    assert table(HELD) == table(saved) != ""


def test_json_of_namespaces_has_the_snapshots_fields_and_what_follows_from_it(
    run: Run, snapshot: Snapshot, saved: Path
) -> None:
    document = json.loads(run("namespaces", saved, "--format", "json").stdout)
    assert document["schema_version"] == snapshot.schema_version
    found = {int(each["address"], 16): each for each in document["mount_namespaces"]}
    assert found.keys() == snapshot.namespace_by_address.keys()
    for address, each in found.items():
        own = MountNamespace.model_validate(each)
        assert own == snapshot.namespace_by_address[address]
        assert each["pids"] == sorted(task.pid for task in snapshot.tasks if task.mnt_ns == address)
        assert each["depth"] == len(each["stack"])
        assert int(each["stack"][0], 16) == own.root
        assert int(each["stack"][-1], 16) == own.visible_root
        assert bool(each["kept_by"]) is (own.nr_tasks == 0)
    assert [each["initial"] for each in document["mount_namespaces"]] == [True] + [False] * 9


def test_csv_of_namespaces_has_a_row_each_and_leaves_empty_what_is_not_known(
    run: Run, snapshot: Snapshot, tmp_path: Path
) -> None:
    partly = Snapshot.model_validate(snapshot.model_dump())
    for space in partly.mount_namespaces:
        space.nr_tasks = space.visible_root = space.holders = None
    found = rows(run("namespaces", save(partly, tmp_path / "partly.json"), "--format", "csv").stdout)
    assert len(found) == len(snapshot.mount_namespaces)
    assert {row["tasks"] for row in found} == {row["depth"] for row in found} == {""}
    assert {row["root_fstype"] for row in found} == {""}


def test_mounts_lists_each_once_under_its_namespace_or_what_it_hangs_on(
    run: Run, snapshot: Snapshot, saved: Path
) -> None:
    found = rows(run("mounts", saved, "--format", "csv").stdout)
    assert sorted(row["address"] for row in found) == [f"0x{mount.address:x}" for mount in snapshot.mounts]
    by_address = {int(row["address"], 16): row for row in found}
    for mount in snapshot.mounts:
        row = by_address[mount.address]
        assert row["options"] == ",".join(mount.options or ())
        assert row["attachment"] == mount.attachment
        assert ("MNT_UMOUNT" in row["flags"].split()) is (mount.attachment == "detached")
        assert (row["hidden"] == "yes") is (mount.overmount is not None)


def test_the_mounts_of_one_namespace_are_those_and_no_others(
    run: Run, snapshot: Snapshot, saved: Path
) -> None:
    inum = inum_of(snapshot, "p-second")
    for word in (inum, f"mnt:[{inum}]"):
        done = run("mounts", saved, "--namespace", word, "--format", "json")
        document = json.loads(done.stdout)
        assert document["query"] == f"namespace:{inum}"
        assert {each["mnt_ns_inum"] for each in document["mounts"]} == {int(inum)}
        expected = [m for m in snapshot.mounts if m.mnt_ns == task_of(snapshot, "p-second").mnt_ns]
        assert (
            sorted(
                (Mount.model_validate(each) for each in document["mounts"]), key=lambda mount: mount.address
            )
            == expected
        )
    assert f"{len(expected)} mounts in mnt:[{inum}]." in run("mounts", saved, "--namespace", inum).stdout


def test_who_holds_a_source_is_said_of_a_mount_that_no_namespace_has_any_more(run: Run, saved: Path) -> None:
    done = run("mounts", saved, "--source", "h-table")
    assert done.returncode == 0
    assert "1 mount of h-table (" in done.stdout
    assert ", in no namespace." in done.stdout
    assert "an open file of h-table (" in done.stdout
    assert "were not read" not in done.stdout


def test_a_saved_snapshot_says_what_it_does_not_know_of_who_holds_a_source_and_how_to_ask(
    run: Run, saved: Path
) -> None:
    done = run("mounts", saved, "--source", "rootfs")
    assert "9 mounts of rootfs (0:3), 8 in 8 namespaces, 1 in none." in done.stdout
    note = "Open files, programs, mappings and sockets on 8 mounts of these were not read: nullfs-explorer holders "
    assert note in done.stdout
    document = json.loads(run("mounts", saved, "--source", "rootfs", "--format", "json").stdout)
    assert sum(each["holders_read"] for each in document["mounts"]) == 1


def test_of_a_kernel_the_holders_of_a_sources_mounts_are_read(run: Run, snapshot: Snapshot) -> None:
    """The slice has no counts of these mounts: that is said, as an error, and who was found is named all the same."""
    done = run("mounts", HELD, "--source", "rootfs", "--format", "json")
    assert done.returncode == 4
    assert "could not be read" in done.stderr
    found = json.loads(done.stdout)["mounts"]
    assert all(each["holders_read"] for each in found)


def test_a_source_that_nothing_has_is_an_answer_and_one_like_it_is_named(run: Run, saved: Path) -> None:
    done = run("mounts", saved, "--source", "h-tabl")
    assert done.returncode == 0
    assert "No mount has the source h-tabl. Sources that are there: h-table" in done.stdout
    assert "MNT_NS" not in done.stdout
    done = run("mounts", SAMPLE, "--source", "/dev/sda")
    assert "No mount has the source /dev/sda." in done.stdout
    assert "There may be more: " in done.stdout


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("command", ["mounts", "namespaces"])
def test_a_narrow_terminal_is_kept_to(run: Run, saved: Path, command: str, width: int) -> None:
    done = run(command, saved, "--width", str(width))
    most = max(map(len, done.stdout.splitlines()))
    assert most <= width
    left_out = "No room for" in done.stdout
    assert left_out is (width < (120 if command == "mounts" else 80))


def test_markdown_has_all_columns_whatever_the_width(run: Run, saved: Path) -> None:
    done = run("mounts", saved, "--format", "markdown", "--width", "40")
    [header] = [line for line in done.stdout.splitlines() if line.startswith("| MNT")]
    assert header.count("|") == 10
    assert header.endswith("| BIND ROOT | OPTIONS | PROPAGATION | ROOT OF |")
    assert done.stdout.startswith("# Mounts\n")


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("out.csv", b"inum,"),
        ("out.json", b'{"schema_version"'),
        ("out.md", b"# Mount namespaces"),
        ("out.txt", b"ISOLATED."),
        ("out.csv.gz", b"\x1f\x8b"),
    ],
)
def test_a_files_name_says_the_format_and_it_is_private(
    run: Run, saved: Path, tmp_path: Path, name: str, begins: bytes
) -> None:
    done = run("namespaces", saved, "-o", name)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    written = tmp_path / name
    assert written.read_bytes().startswith(begins)
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_hostile_names_reach_no_terminal_in_any_form(run: Run, snapshot: Snapshot, tmp_path: Path) -> None:
    armed = Snapshot.model_validate(snapshot.model_dump())
    evil = "=cmd|\x1b]0;gotcha\x07\n\u202e<b>"
    for mount in armed.mounts:
        mount.source = mount.mountpoint = mount.root = evil
    task_of(armed, "h-ns-opened").comm = evil
    path = save(armed, tmp_path / "armed.json")
    for command in ("mounts", "namespaces"):
        for form in ("text", "markdown", "csv", "json"):
            done = run(command, path, "--format", form)
            assert done.returncode == 0, done.stderr
            assert all(char.isprintable() or char in "\r\n" for char in done.stdout), (command, form)
            cells = [line.split(",") for line in done.stdout.splitlines()] if form == "csv" else []
            assert not any(cell.startswith(("=", '"=')) for row in cells for cell in row)
    done = run("mounts", path, "--source", evil)
    assert f"{len(armed.mounts)} mounts of " in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("mounts",), 2, "Missing TARGET"),
        (("namespaces",), 2, "Missing TARGET"),
        (("mounts", HELD, "--namespace", "12"), 2, "there is no mount namespace 12"),
        (("mounts", HELD, "--namespace", "\x1b[31m"), 2, r"\e[31m is neither an inode number"),
        (("mounts", HELD, "--source", ""), 2, "an empty word"),
        (("mounts", HELD, "-o", "no/such/x.csv"), 2, "is not a directory"),
        (("namespaces", HELD, "-o", "x.zip"), 2, ".zip is not written"),
        (("namespaces", HELD, "--format", "xml"), 2, "'xml' is not one of"),
        (("namespaces", "no-such-file"), 3, "no-such-file"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    run: Run, tmp_path: Path, words: tuple[str | Path, ...], code: int, why: str
) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.count("\n") == 1
    assert why in done.stderr
    assert "\x1b" not in done.stderr
    assert list(tmp_path.iterdir()) == []
