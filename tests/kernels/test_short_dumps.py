"""Dumps that are filtered, cut off or incomplete, as the real makedumpfile makes them of a real kernel's memory.

The whole dump is the measure: of a short one each page, and each value, is as it was there or is missing.
"""

from __future__ import annotations

import gzip
import lzma
import mmap
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import drgn
import pytest
import zstandard

from explorer.codec.snapshots import load_snapshot
from explorer.model import Snapshot
from explorer.targets.detect import detect_target
from explorer.targets.dumps.elfcore import read_elf_core
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.program import open_program
from tests.conftest import Run, capture_file
from tests.holes import differences
from tests.kernels.conftest import cannot_run, kernel_or_skip
from tests.kernels.lab import Guest
from tests.kernels.makedumpfile import left_out, makedumpfile, pages_within, proc_vmcore, without_frame

pytestmark = pytest.mark.kernel

PAGE = 4096
PERCENTS = (50, 90, 99)
#: How makedumpfile is called for each dump, besides the dump itself.
WAYS = {
    "elf": ("-E", "-d", "31"),
    "elf-zeros": ("-E", "-d", "1"),
    "kdump": ("-c", "-d", "31"),
    "kdump-23": ("-c", "-d", "23"),
    "flattened": ("-F", "-c", "-d", "31"),
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
    "zstd": lambda data: zstandard.compress(data, 1),
}


@dataclass(frozen=True)
class Dumps:
    """One guest's memory, whole and as makedumpfile made it shorter."""

    directory: Path
    memory: mmap.mmap
    base: int
    whole: Snapshot

    def path(self, name: str) -> Path:
        return self.directory / name

    def cut(self, name: str, percent: int) -> Path:
        """The first so many percent of a dump."""
        data = self.path(name).read_bytes()
        path = self.path("cut")
        path.write_bytes(data[: len(data) * percent // 100])
        return path

    def packed(self, name: str, method: str) -> str:
        """A dump, compressed: the name of that file."""
        path = self.path(f"{name}.{method}")
        if not path.exists():
            path.write_bytes(COMPRESS[method](self.path(name).read_bytes()))
        return path.name

    def readable(self, opened: OpenProgram, *, elf: bool) -> int:
        """How many pages of memory can be read: each, by physical and by virtual address, is that of the whole dump.

        A kdump has no virtual addresses: they are looked up in page tables, and some of these may be missing.
        """
        count = 0
        for physical in range(0, len(self.memory), PAGE):
            page = read_page(opened.prog, physical, True)
            if elf:
                assert read_page(opened.prog, self.base + physical, False) == page, f"0x{physical:x}"
            if page is not None:
                assert page == self.memory[physical : physical + PAGE], f"0x{physical:x} is not as it was"
                count += 1
        return count

    def honest(self, path: Path) -> Snapshot | str:
        """What a dump that is not all there gives: true values, the shortage first; or why it gives nothing."""
        try:
            snapshot = capture_file(path)
        except TargetError as error:
            said = str(error)
            assert said.startswith(f"{path}: ")
            assert "missing" in said or "nothing can be read" in said or "before its first page" in said
            assert "copy" not in said
            assert "\n" not in said
            return said
        assert differences(self.whole, snapshot) == []
        first = snapshot.errors[0]
        assert (first.where, first.what) == ("target", "memory")
        assert first.why == snapshot.capture.missing_memory
        return snapshot


def read_page(prog: drgn.Program, address: int, physical: bool) -> bytes | None:
    try:
        data: bytes = prog.read(address, PAGE, physical)
    except drgn.FaultError:
        return None
    return data


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dumps]:
    kernel_or_skip("7.3")
    if shutil.which("makedumpfile") is None:
        cannot_run("not installed: makedumpfile")
    directory = tmp_path_factory.mktemp("short-")
    with Guest.boot("7.3", "lively") as guest:
        guest.stop()
        guest.dump(directory / "qemu")
    base = proc_vmcore(directory / "qemu", directory / "vmcore")
    (directory / "qemu").unlink()
    for name, options in WAYS.items():
        makedumpfile(directory / "vmcore", directory / name, *options)
    whole = capture_file(directory / "vmcore")
    assert whole.errors == []
    with (directory / "vmcore").open("rb") as file:
        [ram] = read_elf_core(file, "vmcore").segments
        assert ram.physical_address == 0
        start = ram.file_offset
        assert start % mmap.ALLOCATIONGRANULARITY == 0
        memory = mmap.mmap(file.fileno(), ram.file_size, prot=mmap.PROT_READ, offset=start)
    yield Dumps(directory, memory, base, whole)
    for path in directory.iterdir():
        path.unlink()  # half a gigabyte


@pytest.mark.parametrize("way", ["elf", "elf-zeros"])
def test_what_makedumpfile_left_out_of_an_elf_dump_faults_by_both_addresses(dumps: Dumps, way: str) -> None:
    path = dumps.path(way)
    missing = left_out(path)
    assert missing > 0
    with open_program(detect_target(str(path))) as opened:
        assert dumps.readable(opened, elf=True) == (len(dumps.memory) - missing) // PAGE
        assert opened.cut_off is None
        assert f"left {missing / 1e6:.0f} MB of {len(dumps.memory) / 1e6:.0f} MB" in (
            opened.missing_memory or ""
        )
        assert any("makedumpfile left" in note for note in opened.notes)


@pytest.mark.parametrize("way", WAYS)
def test_no_value_of_a_filtered_dump_is_other_than_in_the_whole_one(dumps: Dumps, way: str) -> None:
    snapshot = capture_file(dumps.path(way))
    assert differences(dumps.whole, snapshot) == []
    assert len(snapshot.tasks) == len(dumps.whole.tasks)
    if way == "kdump-23":
        assert snapshot.errors == []


@pytest.mark.parametrize("percent", PERCENTS)
@pytest.mark.parametrize("way", ["vmcore", "elf", "kdump", "flattened"])
def test_a_dump_that_is_cut_off_gives_what_is_there_and_says_so_first(
    dumps: Dumps, way: str, percent: int
) -> None:
    found = dumps.honest(dumps.cut(way, percent))
    if percent == 99:
        assert isinstance(found, Snapshot), found
        assert len(found.tasks) > 10


@pytest.mark.parametrize("percent", PERCENTS)
def test_every_page_that_a_cut_vmcore_still_holds_is_read(dumps: Dumps, percent: int) -> None:
    path = dumps.cut("vmcore", percent)
    lost = dumps.path("vmcore").stat().st_size - path.stat().st_size
    with open_program(detect_target(str(path))) as opened:
        assert dumps.readable(opened, elf=True) == (len(dumps.memory) - lost) // PAGE
        assert "the file is cut off" in (opened.cut_off or "")


@pytest.mark.parametrize("percent", PERCENTS)
@pytest.mark.parametrize("way", ["kdump", "kdump-23"])
def test_every_page_that_a_cut_kdump_still_holds_is_read(dumps: Dumps, way: str, percent: int) -> None:
    path = dumps.cut(way, percent)
    there = pages_within(dumps.path(way), path.stat().st_size)
    with open_program(detect_target(str(path))) as opened:
        assert dumps.readable(opened, elf=False) == there
        assert "the file is cut off" in (opened.cut_off or "")


@pytest.mark.parametrize("percent", PERCENTS)
@pytest.mark.parametrize(
    ("way", "method"), [("kdump", "gzip"), ("kdump", "xz"), ("kdump", "zstd"), ("elf", "zstd")]
)
def test_a_dump_whose_compressed_file_is_cut_off_gives_what_comes_out(
    dumps: Dumps, way: str, method: str, percent: int
) -> None:
    found = dumps.honest(dumps.cut(dumps.packed(way, method), percent))
    said = found if isinstance(found, str) else found.errors[0].why
    assert f"the {method} file is cut off" in said


@pytest.mark.parametrize("percent", [60, 97])
@pytest.mark.parametrize("way", ["elf", "kdump"])
def test_an_incomplete_dump_of_a_disk_that_was_full_gives_what_is_there(
    dumps: Dumps, way: str, percent: int
) -> None:
    full_at = dumps.path(way).stat().st_size * percent // 100
    path = dumps.path("incomplete")
    makedumpfile(dumps.path("vmcore"), path, *WAYS[way], full_at=full_at)
    with open_program(detect_target(str(path))) as opened:
        assert 0 < dumps.readable(opened, elf=way == "elf") < len(dumps.memory) // PAGE
        assert "makedumpfile marked this dump incomplete" in (opened.cut_off or "")
    found = dumps.honest(path)
    assert "makedumpfile marked this dump incomplete" in (
        found if isinstance(found, str) else found.errors[0].why
    )


def test_a_cut_dump_that_lacks_the_page_tables_is_read_without_them(dumps: Dumps) -> None:
    """They lie at the end of memory, where a dump is cut: what they lead to is still there, at a known distance."""
    with open_program(detect_target(str(dumps.path("vmcore")))) as opened:
        info = opened.vmcoreinfo
    top = info.symbols["swapper_pg_dir"] - 0xFFFFFFFF80000000 + info.numbers["phys_base"]
    path = dumps.path("no-page-tables")
    without_frame(dumps.path("kdump-23"), path, top // PAGE)
    snapshot = dumps.honest(path)
    assert isinstance(snapshot, Snapshot), snapshot
    assert {task.address for task in snapshot.tasks} == {task.address for task in dumps.whole.tasks}
    assert all(task.comm is not None for task in snapshot.tasks)


def test_the_command_says_first_that_a_dump_is_cut_off_and_ends_with_4(dumps: Dumps, run: Run) -> None:
    path = dumps.cut("vmcore", 99)
    result = run("tasks", path)
    assert result.returncode == 4
    assert "the file is cut off" in result.stderr.splitlines()[0]
    assert "The file is cut off: " in " ".join(result.stdout.split())
    saved = path.with_name("saved.json")
    assert run("snapshot", path, "-o", saved).returncode == 4
    assert load_snapshot(saved).errors[0].where == "target"


def test_the_command_says_in_one_line_what_is_missing_when_nothing_can_be_shown(
    dumps: Dumps, run: Run
) -> None:
    path = dumps.path("begin")
    path.write_bytes(dumps.path("vmcore").read_bytes()[: 4 * PAGE])
    result = run("tasks", path)
    assert (result.returncode, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    assert "of memory are missing" in result.stderr
