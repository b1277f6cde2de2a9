"""The files of a fleet are those that the words name, and each has the key of its content."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer import __version__
from explorer.fleet import FleetError
from explorer.fleet.running.finding import Candidate, find_candidates
from explorer.fleet.running.work import examine
from tests.conftest import DATA, FIXTURES


@pytest.fixture
def crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``/var/crash`` as kdump-tools and kdump leave it, with a fleet's own dataset and a hidden file beside."""
    slice_ = FIXTURES["rfc-v1"].read_bytes()
    for folder, dump, log in (
        ("202611201530", "dump.{}", "dmesg.{}"),
        ("127.0.0.1-2026-11-21-09:00:01", "vmcore", "{}"),
    ):
        (tmp_path / "crash" / folder).mkdir(parents=True)
        (tmp_path / "crash" / folder / dump.format(folder)).write_bytes(slice_ + folder.encode())
        (tmp_path / "crash" / folder / log.format("vmcore-dmesg.txt")).write_text("[    0.000000] Linux")
    (tmp_path / "crash" / ".incoming.part").write_bytes(slice_)
    (tmp_path / "crash" / "kexec_cmd").write_text("/sbin/kexec -p")
    (tmp_path / "crash" / "fleet").mkdir()
    (tmp_path / "crash" / "fleet" / "fleet.json").write_text("{}")
    (tmp_path / "crash" / "fleet" / "vmcore").write_bytes(slice_)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def targets(*words: str) -> list[str]:
    """The names of what is a target among the files that the words name."""
    found = examine(list(find_candidates(words)), __version__)
    return [Path(each.name).name for each in found if each.key is not None]


def test_of_crash_folders_the_dumps_are_targets_and_what_lies_beside_them_is_not(crashes: Path) -> None:
    assert targets("crash") == ["vmcore", "dump.202611201530"]
    assert len(list(find_candidates(["crash"]))) == 5


def test_a_damaged_dump_in_a_folder_is_a_target_by_its_name(crashes: Path) -> None:
    (crashes / "crash" / "vmcore-incomplete").write_bytes(b"\0" * 100)
    (crashes / "crash" / "host.json.zst").write_bytes(b"cut off")
    assert targets("crash")[:2] == ["host.json.zst", "vmcore-incomplete"]


def test_lists_patterns_and_moments_name_files_in_their_order(crashes: Path) -> None:
    recording = DATA / "boot-7.3.nxrec"
    (crashes / "list.txt").write_text(f"# the boot\n{recording}@#0\n\n@more.txt\nnot-there\n")
    (crashes / "more.txt").write_text("crash/*/dump.*\nsample\n")
    found = list(find_candidates(["@list.txt", str(recording)]))
    assert [each.name for each in found] == [
        f"{recording}@#0",
        str(crashes / "crash/202611201530/dump.202611201530"),
        "sample",
        str(crashes / "not-there"),
        str(recording),
    ]
    assert [each.word for each in found] == ["@list.txt"] * 4 + [str(recording)]
    first, *_, last = examine(found, __version__)
    assert first.key != last.key, "another moment of a recording is another target"


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("not-there", "no such file"),
        ("*.vmcore", "no file matches"),
        ("live", "a fleet reads files"),
        ("qemu:/run/qmp", "a fleet reads files"),
        ("@not-there", "the list cannot be read"),
        ("@loop.txt", "lists within lists"),
    ],
)
def test_a_word_that_names_no_file_is_refused_before_anything_is_read(
    crashes: Path, word: str, why: str
) -> None:
    (crashes / "loop.txt").write_text("@loop.txt\n")
    with pytest.raises(FleetError, match=why):
        list(find_candidates([word]))


def key_of(path: Path) -> str | None:
    return examine([Candidate(str(path), "", True)], __version__)[0].key


def test_a_copy_is_the_same_target_and_one_byte_makes_another(tmp_path: Path) -> None:
    content = FIXTURES["rfc-v1"].read_bytes()
    one, copy, other = (tmp_path / name for name in ("one", "copy", "other"))
    one.write_bytes(content)
    copy.write_bytes(content)
    other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert key_of(one) == key_of(copy) != key_of(other)


def test_of_a_large_file_both_ends_and_what_lies_between_make_the_key(tmp_path: Path) -> None:
    path, size = tmp_path / "large", 200 << 20
    keys = set()
    for change in (None, 0, size - 1, (1 << 20) + 10 * ((size - (2 << 20)) // 64)):
        with path.open("wb") as file:
            file.truncate(size)
            if change is not None:
                file.seek(change)
                file.write(b"x")
        keys.add(key_of(path))
    assert len(keys) == 4


def test_two_that_have_no_content_are_two_targets(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).touch()
    assert len({key_of(tmp_path / name) for name in ("a", "b", "not-there")}) == 3


def test_a_worker_of_another_version_refuses_to_mix_its_rows_in() -> None:
    with pytest.raises(FleetError, match="install the same"):
        examine([], "0.0.1")
