"""Roads to a guest's memory that need a guest of their own, and targets that must be refused."""

from __future__ import annotations

import mmap
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from explorer.analysis.accounting import reconcile
from explorer.analysis.worlds import WorldKey, find_worlds
from explorer.capture.request import CaptureRequest, CaptureStats
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Generation, Placement, TaskKind
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from explorer.targets.qemu.attach import query_guest
from explorer.targets.qemu.control import GuestControl
from explorer.targets.qemu.watch import GuestWatch
from explorer.tui.views.overview import make_overview
from tests.kernels.compare import facts
from tests.kernels.lab import Guest, GuestOptions, get_kernel
from tests.kernels.test_capture import capture

pytestmark = pytest.mark.kernel


@dataclass(frozen=True)
class Undescribed:
    """A stopped 7.3 guest without ``-device vmcoreinfo``, and dumps of it: VMCOREINFO is only in its memory."""

    guest: Guest
    directory: Path


@pytest.fixture(scope="module")
def undescribed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undescribed]:
    directory = tmp_path_factory.mktemp("undescribed")
    with Guest.boot("7.3", "healthy", GuestOptions(vmcoreinfo=False, smp=2, tcp=True)) as guest:
        guest.stop()
        guest.dump(directory / "elf")
        guest.dump(directory / "kdump", "kdump-zlib")
        guest.pmemsave(directory / "ram", 0, 256 << 20)
        yield Undescribed(guest, directory)


def test_a_guest_without_the_vmcoreinfo_device_is_read_over_every_road(undescribed: Undescribed) -> None:
    over_socket = capture(f"qemu:{undescribed.guest.qmp_socket}")
    assert over_socket.errors == []
    assert all(reference.balanced for reference in reconcile(over_socket))
    for target in (f"{undescribed.directory}/elf", f"physmem:{undescribed.directory}/ram"):
        assert facts(capture(target)) == facts(over_socket), target


def test_every_short_read_gives_what_the_page_tables_lead_to_over_every_road(
    undescribed: Undescribed,
) -> None:
    directory = undescribed.directory
    roads = f"{directory}/elf", f"{directory}/kdump", f"physmem:{directory}/ram"
    for target in (*roads, f"qemu:{undescribed.guest.qmp_socket}"):
        with open_kernel(detect_target(target)) as kernel:
            stats = CaptureStats()
            checked = capture_snapshot(replace(CaptureRequest.from_kernel(kernel), checked=True), stats=stats)
        assert stats.differing == [], target
        assert stats.compared > 2 * len(checked.tasks), target
        assert facts(checked) == facts(capture(target)), target


def test_a_socket_is_said_to_be_read_directly_and_tcp_to_be_slow(undescribed: Undescribed) -> None:
    over_socket = capture(f"qemu:{undescribed.guest.qmp_socket}")
    over_tcp = capture(f"qemu:127.0.0.1:{undescribed.guest.tcp_port}")
    assert any("direct" in note for note in over_socket.capture.notes)
    assert any("slow" in note for note in over_tcp.capture.notes)
    assert facts(over_tcp) == facts(over_socket)
    assert over_tcp.capture.source.kind == "qemu"
    assert over_tcp.capture.consistent


def test_the_idle_tasks_of_all_cpus_are_found_so_that_the_books_balance(undescribed: Undescribed) -> None:
    snapshot = capture(f"{undescribed.directory}/elf")
    idle = [task.name for task in snapshot.tasks if task.kind is TaskKind.IDLE]
    assert sorted(idle) == ["swapper/0", "swapper/1"]
    assert all(reference.balanced for reference in reconcile(snapshot))


def test_a_vmcoreinfo_file_stands_in_for_a_missing_note(undescribed: Undescribed, tmp_path: Path) -> None:
    memory = (undescribed.directory / "ram").read_bytes()
    start = memory.index(b"OSRELEASE=7.3")
    (tmp_path / "vmcoreinfo").write_bytes(memory[start : memory.index(b"\0", start)])
    result = subprocess.run(
        [sys.executable, "-m", "explorer", "tasks", undescribed.directory / "elf", "--vmcoreinfo",
         tmp_path / "vmcoreinfo"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "isolated" in result.stdout


def refused(*arguments: str | Path) -> str:
    """The one line with which a target is refused, exit code 3."""
    result = subprocess.run(
        [sys.executable, "-m", "explorer", "snapshot", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 3, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


def test_a_vmlinux_of_another_build_is_refused_with_both_ids_unless_forced(undescribed: Undescribed) -> None:
    vmlinux = get_kernel("7.3", debug=True).vmlinux
    assert vmlinux is not None
    other = Path(__file__).parent.parent / "data" / "linux-7.2.elf.zst"
    said = refused(other, "-s", vmlinux)
    wanted = capture(str(other)).kernel.build_id
    found = capture(f"{undescribed.directory}/elf").kernel.build_id
    assert wanted is not None
    assert found is not None
    assert wanted in said
    assert found in said
    assert "--force" in said


def test_a_dump_cut_before_its_memory_is_refused_in_one_line(
    undescribed: Undescribed, tmp_path: Path
) -> None:
    whole = (undescribed.directory / "elf").read_bytes()
    for size in (10, 100, 5000):
        (tmp_path / "cut").write_bytes(whole[:size])
        assert "cut" in refused(tmp_path / "cut")


def test_a_dump_that_lacks_its_last_page_says_so_first_and_shows_the_rest(
    undescribed: Undescribed, tmp_path: Path
) -> None:
    whole = (undescribed.directory / "elf").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-5000])
    snapshot = capture(str(tmp_path / "cut"))
    assert (snapshot.errors[0].where, snapshot.errors[0].what) == ("target", "memory")
    assert "cut off" in snapshot.errors[0].why
    assert snapshot.capture.notes[0] == snapshot.errors[0].why
    assert [task.pid for task in snapshot.tasks] == [
        task.pid for task in capture(str(undescribed.directory / "elf")).tasks
    ]


def test_dwarf_that_nobody_has_is_one_line_that_says_where_to_get_it(undescribed: Undescribed) -> None:
    assert "debug" in refused(undescribed.directory / "elf", "--types", "dwarf")


def test_a_guest_that_vanishes_is_one_line_not_a_hang() -> None:
    with Guest.boot("7.3", "healthy") as guest:
        socket = guest.qmp_socket
        tool = subprocess.Popen(
            [sys.executable, "-c", _VANISHING, str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tool.stdout is not None
        assert tool.stdout.readline() == "open\n"
        guest.close()
        out, err = tool.communicate("go\n", timeout=60)
    assert "Traceback" not in err, err
    assert "errors" in out or "cannot" in out, (out, err)
    assert "qemu" in refused(f"qemu:{socket}")


#: Opens a guest, waits until it is gone, and captures.
_VANISHING = """
import sys
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenOptions, open_kernel
kernel = open_kernel(detect_target(f"qemu:{sys.argv[1]}"), OpenOptions(use_cache=False))
print("open", flush=True)
sys.stdin.readline()
try:
    snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
    print(len(snapshot.errors), "errors")
except Exception as error:
    print("cannot:", type(error).__name__, error)
"""


def test_an_abandoned_kernel_shows_init_with_its_neighbours_and_its_sharer_in_nullfs() -> None:
    with Guest.boot("7.3", "abandoned") as guest:
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}")
        sharer = next(task for task in snapshot.tasks if task.pid == guest.states["init-share"])
    init = next(task for task in snapshot.tasks if task.pid == 1)
    kernel = snapshot.kernel
    assert kernel.generation is Generation.ISOLATED
    assert init.owned_fs != kernel.userspace_init_fs
    assert sharer.owned_fs == kernel.userspace_init_fs
    left = snapshot.fs_by_address[kernel.userspace_init_fs or 0]
    assert left.root is not None
    assert left.root.placement is Placement.NULLFS
    own = snapshot.fs_by_address[init.owned_fs or 0]
    assert own.root is not None
    assert own.root.placement is Placement.INIT_ROOT
    neighbours = {task.name for task in find_worlds(snapshot).get(WorldKey.INIT_ROOT).tasks}
    assert neighbours == {"nx-init", "in-srv", "plain-a", "plain-b"}, "who is where PID 1 is"
    others = find_worlds(snapshot).get(WorldKey.NS_ROOT).tasks
    assert {task.name for task in others} == {"kdevtmpfs"}, "the only one in another namespace"
    overview = make_overview(snapshot, find_worlds(snapshot))
    assert overview.right is not None
    assert overview.right.lines[0] == "PID 1 left: rootfs#2"
    assert overview.right.lines[-1] == "users 2 = 1 + pointer", "that this balances is no praise"
    assert all(reference.balanced for reference in reconcile(snapshot))


def test_physical_memory_with_a_hole_below_4_gib_is_read_without_being_told() -> None:
    with Guest.boot("7.3", "healthy", GuestOptions(memory_mb=3072, memory_file=True)) as guest:
        guest.stop()
        over_socket = capture(f"qemu:{guest.qmp_socket}")
        assert facts(capture(f"physmem:{guest.memory_path}")) == facts(over_socket)


def test_a_kernel_that_qemu_was_told_of_and_that_is_gone_does_not_hide_the_one_that_runs() -> None:
    """As after a kexec, until the next kernel loads qemu_fw_cfg: the note that QEMU knows is of another kernel."""
    with Guest.boot("7.3", "healthy", GuestOptions(memory_file=True)) as guest:
        guest.stop()
        true = capture(f"qemu:{guest.qmp_socket}")
        assert not any("found in memory" in note for note in true.capture.notes), "the note was used"
        _falsify_note(guest.memory_path)
        searched = capture(f"qemu:{guest.qmp_socket}")
        watch = _watch(guest)
        try:
            found = watch.find_kernel()
            assert found is not None and found.vmcoreinfo.osrelease == true.kernel.release
        finally:
            watch.release()
    assert any("found in memory" in note for note in searched.capture.notes)
    assert facts(searched) == facts(true)


def _falsify_note(memory: Path) -> None:
    """Let the note, but not the page that it was made of, place the kernel elsewhere."""
    with memory.open("r+b") as file, mmap.mmap(file.fileno(), 0) as image:
        start = image.find(b"VMCOREINFO\0\0OSRELEASE=7.3")
        assert start > 0
        key = b"NUMBER(phys_base)="
        at = image.find(key, start, start + 4096) + len(key)
        image[at : at + 2] = b"12" if image[at : at + 2] != b"12" else b"34"
        assert image.find(b"VMCOREINFO\0\0OSRELEASE=7.3", start + 1) < 0, "there is one note"


def _watch(guest: Guest) -> GuestWatch:
    control = GuestControl(str(guest.control_socket))
    try:
        _, ram = query_guest(control, "guest")
    finally:
        control.close()
    return GuestWatch(str(guest.qmp_socket), ram, stopped=True)
