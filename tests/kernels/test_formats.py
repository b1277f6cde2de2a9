"""A guest's real memory in the formats of others: LiME, VirtualBox's core, a crash folder, QEMU's migration stream."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.model import Snapshot
from tests.foreign import libvirt_save, write_lime, write_virtualbox
from tests.holes import differences
from tests.kernels.compare import disagreements, facts
from tests.kernels.lab import Guest, GuestOptions, Oracle
from tests.kernels.test_capture import capture

pytestmark = pytest.mark.kernel

_4G = 1 << 32
#: Of QEMU's q35, if it has 2.75 GiB or more: the rest is above 4 GiB.
_BELOW_4G = 2 << 30
_MEMORY_MB = 3072
_MIGRATION_S = 120


@dataclass(frozen=True)
class Saved:
    """A stopped guest of 3 GiB, of which a part lies above 4 GiB: its memory, and what it said before and after."""

    directory: Path
    ranges: list[tuple[int, int, int]]
    """(physical address, end, offset in the image) of what the guest's /proc/iomem calls System RAM."""
    captured: Snapshot
    before: Oracle
    after: Oracle

    @property
    def image(self) -> Path:
        return self.directory / "ram"


def system_ram(iomem: str) -> list[tuple[int, int, int]]:
    """What LiME walks: the top level resources of that name, the last address within."""
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM\r?$", iomem, re.MULTILINE)
    ranges = [(int(first, 16), int(last, 16) + 1) for first, last in found]
    return [(first, end, first if first < _4G else first - _4G + _BELOW_4G) for first, end in ranges]


def migrate(guest: Guest, path: Path) -> None:
    guest.control.command("migrate", uri=f"exec:cat > {path}")
    deadline = time.monotonic() + _MIGRATION_S
    while (status := guest.control.command("query-migrate")["status"]) != "completed":
        assert status in ("setup", "active", "device") and time.monotonic() < deadline, status
        time.sleep(0.1)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    directory = tmp_path_factory.mktemp("formats")
    options = GuestOptions(memory_mb=_MEMORY_MB, memory_file=True)
    with Guest.boot("7.3", "shell", options) as guest:
        code, iomem = guest.sh("cat /proc/iomem")
        assert code == 0
        ranges = system_ram(iomem)
        before = guest.oracle()
        guest.stop()
        captured = capture(f"qemu:{guest.qmp_socket}")
        subprocess.run(["cp", "--sparse=always", guest.memory_path, directory / "ram"], check=True)
        guest.dump(directory / "flattened", "kdump-zlib")
        guest.cont()
        after = guest.oracle()
        guest.stop()
        migrate(guest, directory / "migration")
    yield Saved(directory, ranges, captured, before, after)
    for path in directory.iterdir():
        path.unlink()


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "explorer", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_lime_of_a_guest_with_memory_above_4_gib_has_every_task_that_the_guest_lists(
    saved: Saved, tmp_path: Path
) -> None:
    assert len(saved.ranges) >= 3 and saved.ranges[-1][0] == _4G, "the guest has memory above the hole"
    assert any(end % 4096 for _, end, _ in saved.ranges), "a range ends within a page, as the BIOS leaves it"
    write_lime(tmp_path / "memory", saved.image, saved.ranges)
    found = capture(str(tmp_path / "memory"))
    assert disagreements(found, saved.before, saved.after) == []
    assert facts(found) == facts(saved.captured)
    assert not found.capture.consistent


def test_lime_that_was_compressed_for_the_way_is_read(saved: Saved, tmp_path: Path) -> None:
    write_lime(tmp_path / "memory", saved.image, saved.ranges)
    subprocess.run(["lz4", "-q", tmp_path / "memory", tmp_path / "memory.lz4"], check=True)
    assert facts(capture(str(tmp_path / "memory.lz4"))) == facts(saved.captured)


def test_lime_without_its_end_is_exit_4_and_says_first_how_much_is_missing(
    saved: Saved, tmp_path: Path
) -> None:
    """The kernel fills its memory from the end: it may be that none is found in the rest, else no value differs."""
    path = tmp_path / "memory"
    write_lime(path, saved.image, saved.ranges)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - (100 << 20))
    result = command("tasks", path)
    assert "the file is cut off: 105 MB of 3.2 GB of memory are missing" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    if result.returncode == 3:
        assert "no kernel is found: copy it again" in result.stderr
        return
    assert result.returncode == 4
    found = capture(str(path))
    assert differences(saved.captured, found) == []
    assert found.errors[0].why.startswith("the file is cut off: 105 MB")


def test_a_virtualbox_core_is_the_guests_memory(saved: Saved, tmp_path: Path) -> None:
    size = saved.image.stat().st_size
    parts = [(0, _BELOW_4G, 0), (_4G, _4G + size - _BELOW_4G, _BELOW_4G)]
    write_virtualbox(tmp_path / "core", saved.image, parts)
    found = capture(str(tmp_path / "core"))
    assert facts(found) == facts(saved.captured)
    assert found.capture.consistent


def test_a_virtualbox_core_of_a_small_guest_has_one_segment_at_0_and_is_read(tmp_path: Path) -> None:
    with Guest.boot("7.3", "healthy", GuestOptions(memory_file=True)) as guest:
        guest.stop()
        over_socket = capture(f"qemu:{guest.qmp_socket}")
        size = guest.memory_path.stat().st_size
        write_virtualbox(tmp_path / "core", guest.memory_path, [(0, size, 0)])
    assert facts(capture(str(tmp_path / "core"))) == facts(over_socket)


def test_a_crash_folder_with_the_guests_dump_is_the_guest(saved: Saved, tmp_path: Path) -> None:
    folder = tmp_path / "202611261200"
    folder.mkdir()
    with (saved.directory / "flattened").open("rb") as flat:
        subprocess.run(
            ["makedumpfile", "-R", folder / "dump.202611261200"], stdin=flat, check=True, capture_output=True
        )
    (folder / "dmesg.202611261200").write_text("[    0.000000] Linux version 7.3\n")
    assert facts(capture(str(folder))) == facts(saved.captured)
    (folder / "dump.2").write_bytes((saved.directory / "flattened").read_bytes()[: 1 << 20])
    result = command("tasks", folder)
    assert result.returncode == 3
    assert "2 dumps: name one of them: dump.2, dump.202611261200" in result.stderr


def test_a_migration_stream_and_what_libvirt_makes_of_it_are_named(saved: Saved, tmp_path: Path) -> None:
    stream = (saved.directory / "migration").read_bytes()
    (tmp_path / "saved").write_bytes(libvirt_save(stream[: 1 << 20]))
    for path, words in (
        (saved.directory / "migration", ("QEMU migration stream", "dump-guest-memory")),
        (tmp_path / "saved", ("libvirt", "virsh dump --memory-only")),
    ):
        result = command("tasks", path)
        assert result.returncode == 3
        assert all(word in result.stderr for word in words), result.stderr
        assert len(result.stderr.splitlines()) == 1
