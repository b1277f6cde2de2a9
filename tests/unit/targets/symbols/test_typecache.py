"""The type cache: what it keeps, and that nothing wrong with it is ever trusted or fatal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from explorer.targets.symbols import typecache

BUILD_ID = "1fe9968467f2755292a45806719b9bba136b0cc8"
SECTIONS = {"btf": b"types" * 100, "sym_names": b"", "sym_rank": bytes(range(13))}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "nullfs-explorer"


def stored(cache: Path) -> Path:
    assert typecache.store(BUILD_ID, SECTIONS) is None
    return cache / f"{BUILD_ID}.nxcache"


def refused(reason: str) -> None:
    sections, note = typecache.load(BUILD_ID)
    assert sections is None
    assert note is not None
    assert reason in note


def test_what_was_stored_comes_back(cache: Path) -> None:
    path = stored(cache)
    sections, note = typecache.load(BUILD_ID)
    assert note is None
    assert sections is not None
    assert {name: bytes(data) for name, data in sections.items()} == SECTIONS
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    assert list(cache.iterdir()) == [path], "no temporary file stays behind"


def test_an_unknown_kernel_is_absent_without_a_note(cache: Path) -> None:
    assert typecache.load(BUILD_ID) == (None, None)
    stored(cache)
    assert typecache.load("ab" * 20) == (None, None)


@pytest.mark.parametrize("at", [0, 8, 12, 16, 24, 40, 120, 160, -1])
def test_a_changed_byte_is_noticed_wherever_it_is(cache: Path, at: int) -> None:
    path = stored(cache)
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    refused("type cache ignored")


@pytest.mark.parametrize("size", [0, 10, 100, 300])
def test_a_truncated_file_is_ignored(cache: Path, size: int) -> None:
    path = stored(cache)
    path.write_bytes(path.read_bytes()[:size])
    refused("cut short")


def test_a_file_of_another_kernel_under_this_name_is_ignored(cache: Path) -> None:
    stored(cache).unlink()
    other = "cd" * 20
    assert typecache.store(other, SECTIONS) is None
    (cache / f"{other}.nxcache").rename(cache / f"{BUILD_ID}.nxcache")
    refused("another kernel")


def test_a_symbolic_link_is_not_followed(cache: Path, tmp_path: Path) -> None:
    path = stored(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused("type cache ignored")


def test_a_file_or_directory_writable_by_others_is_not_trusted(cache: Path) -> None:
    path = stored(cache)
    path.chmod(0o666)
    refused("writable by others")
    path.chmod(0o600)
    cache.chmod(0o777)
    refused("writable by others")
    note = typecache.store(BUILD_ID, SECTIONS)
    assert note is not None
    assert "writable by others" in note


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_a_file_of_another_user_is_not_trusted(cache: Path) -> None:
    os.chown(stored(cache), 12345, 12345)
    refused("another user")


def test_a_directory_reached_through_a_link_is_not_written_to(cache: Path, tmp_path: Path) -> None:
    cache.parent.mkdir()
    (tmp_path / "target").mkdir()
    cache.symlink_to(tmp_path / "target")
    assert typecache.store(BUILD_ID, SECTIONS) is not None
    assert list((tmp_path / "target").iterdir()) == []


def test_a_fifo_does_not_block(cache: Path) -> None:
    stored(cache).unlink()
    os.mkfifo(cache / f"{BUILD_ID}.nxcache", 0o600)
    refused("regular file")


@pytest.mark.parametrize("build_id", ["", "../../etc/passwd", "AB" * 20, "ab", "ab" * 20 + "\n", "ab" * 60])
def test_only_a_hex_build_id_becomes_a_file_name(cache: Path, build_id: str) -> None:
    assert typecache.store(build_id, SECTIONS) is not None
    assert typecache.load(build_id)[0] is None
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    note = typecache.store(BUILD_ID, SECTIONS)
    assert note is not None
    assert "not written" in note
    assert typecache.load(BUILD_ID)[0] is None


def test_a_relative_xdg_cache_home_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert typecache.cache_directory() == tmp_path / ".cache" / "nullfs-explorer"


def test_only_the_most_recently_used_kernels_are_kept(cache: Path) -> None:
    names = [f"{number:040x}" for number in range(20)]
    for age, name in enumerate(names):
        assert typecache.store(name, SECTIONS) is None
        os.utime(cache / f"{name}.nxcache", (1000 + age, 1000 + age))
    assert typecache.load(names[6])[0] is not None, "a use makes it recent"
    (cache / ".dead.1.tmp").write_bytes(b"")
    os.utime(cache / ".dead.1.tmp", (0, 0))
    (cache / "notes.txt").write_text("somebody's")
    stored(cache)
    left = {path.stem for path in cache.glob("*.nxcache")}
    assert len(left) == 16
    assert {BUILD_ID, names[6], names[19]} <= left
    assert names[4] not in left
    assert not (cache / ".dead.1.tmp").exists()
    assert (cache / "notes.txt").exists()
