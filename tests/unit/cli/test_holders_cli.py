"""``holders``: its words, its exit codes, and what a snapshot can and cannot say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from explorer.codec import write_json
from explorer.model import Snapshot
from tests.conftest import HELD, SAMPLE, Run, capture_file


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return capture_file(HELD)


@pytest.fixture(scope="module")
def saved(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "held.json"
    with path.open("wb") as out:
        write_json(snapshot, out)
    return path


def ident(snapshot: Snapshot, source: str) -> str:
    return str(next(mount.id for mount in snapshot.mounts if mount.source == source))


def test_a_dump_and_its_snapshot_name_the_same_holders(run: Run, snapshot: Snapshot, saved: Path) -> None:
    wanted = ident(snapshot, "h-files")
    ours, theirs = run("holders", HELD, wanted), run("holders", saved, wanted)
    assert ours.returncode == theirs.returncode == 0
    assert ours.stdout.splitlines()[1:] == theirs.stdout.splitlines()[1:]
    assert ours.stdout.splitlines()[1] == "3 references, all of them found."
    assert "\x1b" not in ours.stdout


def test_what_nobody_was_found_for_is_exit_code_1_and_named(
    run: Run, snapshot: Snapshot, saved: Path
) -> None:
    done = run("holders", saved, ident(snapshot, "h-sent"))
    assert done.returncode == 1
    assert "1 reference: 0 holders found, and 1 reference that nobody was found for." in done.stdout


def test_a_narrow_terminal_is_kept_to(run: Run, snapshot: Snapshot, saved: Path) -> None:
    done = run("holders", saved, ident(snapshot, "h-files"), "--width", "60")
    assert max(map(len, done.stdout.splitlines())) <= 60


def test_json_has_the_count_the_rest_and_the_tasks(run: Run, snapshot: Snapshot, saved: Path) -> None:
    document = json.loads(run("holders", saved, ident(snapshot, "h-table"), "--format", "json").stdout)
    assert document["count"] == 1
    assert document["unexplained"] == 0
    assert document["missing"] is None
    assert sorted(task["comm"] for task in document["tasks"]) == ["h-table", "h-table-copy", "h-table-same"]
    assert document["holders"][0]["path"] == "/opened"
    assert document["mount"]["source"] == "h-table"


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ((), 2, "Missing MOUNT"),
        ((HELD,), 2, "Missing MOUNT"),
        (("-c", HELD), 2, "Missing MOUNT"),
        (("-c", HELD, "1", "2"), 2, "One target at a time"),
        ((HELD, "/no/where"), 2, "there is no mount /no/where"),
        ((HELD, "0x\x1b[31m"), 2, r"0x\\e[31m is no address"),
        (("no-such-file", "1"), 3, "no-such-file"),
        ((SAMPLE, "35"), 3, "who holds a mount is not in it"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    run: Run, words: tuple[str | Path, ...], code: int, why: str
) -> None:
    done = run("holders", *words)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert why.replace("\\\\", "\\") in done.stderr
    assert "\x1b" not in done.stderr


def test_a_core_that_an_option_names_leaves_the_word_to_the_mount(run: Run, snapshot: Snapshot) -> None:
    done = run("holders", "-c", HELD, ident(snapshot, "h-pwd"))
    assert done.returncode == 0
    assert "h-pwd" in done.stdout


def test_a_snapshot_does_not_pretend_to_know_the_holders_of_a_mount_that_is_attached(
    run: Run, saved: Path
) -> None:
    done = run("holders", saved, "/dev")
    assert done.returncode == 3
    assert "the holders of this mount were not read" in done.stderr


def test_what_could_not_be_read_is_exit_code_4(run: Run, snapshot: Snapshot, tmp_path: Path) -> None:
    partly = snapshot.model_copy(deep=True)
    for mount in partly.mounts:
        if mount.holders is not None:
            mount.holders.missing = "files of task 1: nothing is there"
    path = tmp_path / "partly.json"
    with path.open("wb") as out:
        write_json(partly, out)
    done = run("holders", path, ident(snapshot, "h-files"))
    assert done.returncode == 4
    assert "There may be more: files of task 1: nothing is there." in done.stdout
