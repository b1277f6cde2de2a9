"""Linux 5.10: live, and a dump of it with its System.map, task by task against the guest's own account."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Generation, Snapshot
from explorer.slicing.cut import record_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenOptions, open_kernel
from tests.conftest import Run
from tests.kernels.compare import common_tasks, disagreements, facts, forget_readers, printed_snapshot
from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab import Guest, Kernel, Oracle, boot_until
from tests.kernels.lab.liveimage import boot_live

pytestmark = [pytest.mark.kernel, pytest.mark.repetition, pytest.mark.timeout(1200)]

_LINE = "5.10"


@dataclass
class Old:
    """A guest listed by itself, read live, listed, dumped."""

    kernel: Kernel
    before: Oracle
    live: tuple[int, str]
    after: Oracle
    audit: tuple[int, str]
    dump: Path
    over_qmp: Snapshot

    @property
    def with_map(self) -> OpenOptions:
        return with_map(self.kernel)


def with_map(kernel: Kernel) -> OpenOptions:
    return OpenOptions(symbols_file=kernel.system_map, use_cache=False)


def captured(target: Path | str, options: OpenOptions) -> Snapshot:
    with open_kernel(detect_target(str(target)), options) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    kernel = kernel_or_skip(_LINE, debug=True)
    dump = tmp_path_factory.mktemp("old") / "vmcore"

    def look(guest: Guest) -> Old:
        before = guest.oracle()
        live = guest.run_tool("snapshot", "live", "--no-cache")
        audit = guest.run_tool("audit", "live", "--no-cache")
        after = guest.oracle()
        guest.stop()
        guest.dump(dump)
        over_qmp = captured(f"qemu:{guest.qmp_socket}", with_map(kernel))
        guest.cont()
        return Old(kernel, before, live, after, audit, dump, over_qmp)

    guest, made = boot_until(lambda: boot_live(kernel), look, f"{_LINE} live")
    with guest:
        yield made


def test_live_every_task_that_stayed_is_as_the_guest_says(old: Old) -> None:
    code, printed = old.live
    assert code == 0, printed
    snapshot = printed_snapshot(printed)
    assert snapshot.kernel.generation is Generation.LEGACY
    forget_readers(snapshot)
    assert disagreements(snapshot, old.before, old.after) == []
    assert len(common_tasks(old.before, old.after)) > 80


def test_the_verdict_is_the_one_of_kernels_before_nullfs(old: Old) -> None:
    code, printed = old.audit
    assert code in (0, 1), printed
    assert "SHARED (normal before 7.3). nx-init (1) and " in printed


def test_of_a_dump_with_its_system_map_every_task_is_as_the_guest_says(old: Old) -> None:
    snapshot = captured(old.dump, old.with_map)
    assert snapshot.kernel.generation is Generation.LEGACY
    assert snapshot.capture.types == "btf"
    assert snapshot.errors == []
    assert disagreements(snapshot, old.after, old.after) == []


def test_the_guest_itself_is_read_as_its_dump_is(old: Old) -> None:
    assert facts(old.over_qmp) == facts(captured(old.dump, old.with_map))


def test_debug_info_gives_the_same(old: Old) -> None:
    assert old.kernel.vmlinux is not None
    dwarf = captured(old.dump, OpenOptions(symbols=[old.kernel.vmlinux]))
    assert facts(dwarf) == facts(captured(old.dump, old.with_map))


def test_a_slice_with_the_same_system_map_gives_the_same(old: Old, tmp_path: Path) -> None:
    with open_kernel(detect_target(str(old.dump)), old.with_map) as kernel:
        piece = record_slice(kernel, lambda *_: None)
    with (tmp_path / "slice").open("wb") as file:
        piece.write(file)
    assert facts(captured(tmp_path / "slice", old.with_map)) == facts(captured(old.dump, old.with_map))


def test_a_dump_alone_says_what_to_bring(old: Old, run: Run, tmp_path: Path) -> None:
    ran = run("tasks", old.dump)
    assert (ran.returncode, ran.stdout) == (3, "")
    (line,) = ran.stderr.splitlines()
    assert "older than Linux 6.0; bring the kernel's System.map (--symbols-file)" in line
    ran = run("tasks", old.dump, "--symbols-file", old.kernel.system_map)
    assert (ran.returncode, ran.stderr) == (0, "")
    other = tmp_path / "System.map"
    lines = old.kernel.system_map.read_text().splitlines()
    moved = [
        f"{int(line[:16], 16) + 64:016x}{line[16:]}" if line.endswith(" init_uts_ns") else line
        for line in lines
    ]
    other.write_text("\n".join(moved))
    ran = run("tasks", old.dump, "--symbols-file", other)
    assert ran.returncode == 3
    assert "is of another kernel: init_uts_ns is elsewhere" in ran.stderr
