"""Real boots, recorded by the command: their events in the right order, and every way for a recording to end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from explorer.analysis.mounts.overmounts import overmount_stack
from explorer.model import Snapshot
from explorer.recording.reader import Recording
from explorer.targets.errors import TargetError
from explorer.targets.qemu.control import GuestControl
from explorer.targets.qemu.qmp import QmpConnection
from tests.crashing import crashing_plugin
from tests.kernels.conftest import BootFunction, kernel_or_skip
from tests.kernels.lab import Guest, GuestOptions
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.initramfs import build_initramfs
from tests.kernels.lab.rootimage import build_root_image
from tests.kernels.lab.scenarios import find_scenario
from tests.kernels.recordings import COMMAND, UNTIL_SWITCHED, boot_options, record_guest, recorder

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(600)]

#: A guest's software emulation on a busy machine is slow; it is cut off by this, not by the test's patience.
_LONGEST = ("--for", "60s")


@dataclass(frozen=True)
class Boot:
    """One recorded boot with a switch_root, and what ``timeline --json`` says of it."""

    line: str
    path: Path
    timeline: dict[str, Any]

    def first(self, kind: str, text: str = "") -> int:
        """The number of the first such event."""
        found = [
            number
            for number, event in enumerate(self.timeline["events"])
            if event["kind"] == kind and text in event["text"]
        ]
        assert found, (kind, text, [event["text"] for event in self.timeline["events"]])
        return found[0]

    def frame_of(self, kind: str) -> int:
        frame: int = self.timeline["events"][self.first(kind)]["frame"]
        return frame

    def stack(self, frame: int) -> list[str | None]:
        with Recording.open(self.path) as recording:
            return [mount.fstype for mount in overmount_stack(recording.snapshot_at(f"#{frame}"))]


@pytest.fixture(scope="module", params=["7.3", "7.2"])
def boot_recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Boot:
    path = tmp_path_factory.mktemp("record") / "boot.nxrec"
    kernel = kernel_or_skip(request.param)
    with Guest.boot(kernel, "switch-root", boot_options()) as guest:
        done = record_guest(guest, path, "--step", "20ms", "--until", UNTIL_SWITCHED, *_LONGEST)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([*COMMAND, "timeline", "--json", str(path)], capture_output=True, check=True)
    return Boot(request.param, path, json.loads(said.stdout))


def test_the_events_of_a_boot_are_seen_in_their_order(boot_recorded: Boot) -> None:
    first = boot_recorded.first
    isolating = boot_recorded.line == "7.3"
    order = [
        first("kernel readable"),
        first("already there", "PID 1 is swapper/0"),
        *([first("already there", "userspace_init_fs is published")] if isolating else []),
        first("initramfs unpacking", "do_populate_rootfs"),
        *([first("borrow begins", "do_populate_rootfs")] if isolating else []),
        *([first("borrow ends", "do_populate_rootfs")] if isolating else []),
        first("initramfs unpacked"),
        first("PID 1 exec", "its first program"),
        first("mount", "/proc"),
        first("real root mounted", "/dev/vda"),
        first("switch_root"),
        first("overmount", "squashfs"),
        first("PID 1 exec", "real-init"),
        first("chroot", "chrooted"),
        first("unshare", "unsharer"),
        first("namespace made", "container"),
        first("usermodehelper", "net-pf-37"),
        first("recording ends"),
    ]
    # what one frame shows together has no order of its own, but for what the program gives it
    frames = [boot_recorded.timeline["events"][number]["frame"] for number in order]
    assert frames == sorted(frames)
    assert sorted(set(order)) == sorted(order)


def test_the_kworker_that_unpacks_the_initramfs_borrows_all_the_while(boot_recorded: Boot) -> None:
    spans = [span for span in boot_recorded.timeline["borrows"] if span["function"] == "do_populate_rootfs"]
    if boot_recorded.line != "7.3":
        assert boot_recorded.timeline["borrows"] == [], "before 7.3 there is nothing to borrow"
        return
    (span,) = spans
    assert span["ended"]
    assert span["comm"].startswith("kworker/u")
    with Recording.open(boot_recorded.path) as recording:
        seen = [
            frame.index
            for frame in recording.frames()
            if frame.snapshot is not None
            and any(
                task.comm == span["comm"] and task.fs == frame.snapshot.kernel.userspace_init_fs
                for task in frame.snapshot.tasks
            )
        ]
    assert seen == list(range(span["first"], span["last"] + 1)), (
        "fs is init's in each of its frames, and in no other"
    )
    assert len(seen) >= 2
    (unpacking,) = [phase for phase in boot_recorded.timeline["phases"] if phase["phase"] == "initramfs"]
    assert unpacking["first"] <= span["first"] <= span["last"] <= unpacking["last"]
    assert boot_recorded.timeline["most_borrowers"] >= 1


def test_the_phases_of_a_boot_follow_one_another(boot_recorded: Boot) -> None:
    phases = [span["phase"] for span in boot_recorded.timeline["phases"]]
    assert phases == ["not readable", "initcalls", "initramfs", "initcalls", "initramfs init", "real root"]


def test_switch_root_stacks_the_real_root_over_the_rootfs(boot_recorded: Boot) -> None:
    frame = boot_recorded.frame_of("switch_root")
    # Moving the mount and chroot() are two calls: a frame may fall between them.
    assert boot_recorded.stack(frame - 1) in (["nullfs", "rootfs"], ["nullfs", "rootfs", "squashfs"])
    assert boot_recorded.stack(frame - 2) == ["nullfs", "rootfs"]
    assert boot_recorded.stack(frame) == ["nullfs", "rootfs", "squashfs"]


def test_frames_are_targets_of_the_other_commands(boot_recorded: Boot, tmp_path: Path) -> None:
    frame = boot_recorded.frame_of("switch_root")
    before, after = (f"{boot_recorded.path}@#{number}" for number in (frame - 1, frame))
    diff = subprocess.run([*COMMAND, "diff", before, after], capture_output=True, text=True, check=False)
    assert diff.returncode == 1
    assert "overmount: none → squashfs" in diff.stdout
    audit = subprocess.run(
        [*COMMAND, "audit", str(boot_recorded.path)], capture_output=True, text=True, check=False
    )
    assert audit.returncode in (0, 1), audit.stdout
    out = tmp_path / "frame.json"
    words = [*COMMAND, "frame", str(boot_recorded.path), f"@#{frame}", "-o", str(out)]
    assert subprocess.run(words, check=False).returncode == 0
    assert Snapshot.model_validate_json(out.read_bytes()).capture.consistent


def test_every_frame_is_consistent_and_whole(boot_recorded: Boot) -> None:
    with Recording.open(boot_recorded.path) as recording:
        snapshots = [frame.snapshot for frame in recording.frames() if frame.snapshot is not None]
        readable = len(snapshots)
        assert all(snapshot.capture.consistent for snapshot in snapshots)
        assert [error for snapshot in snapshots for error in snapshot.errors] == []
        assert recording.size / readable < 5000


@contextlib.contextmanager
def drained(guest: Guest) -> Iterator[None]:
    """Read what the guest prints: QEMU writes it byte by byte, and a guest whose console is full stands still."""

    def read() -> None:
        with contextlib.suppress(LabError):  # it has ended
            guest.console.read_until(rb"NX NEVER", 300.0)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        guest.close()
        reader.join(10.0)


def wait_for_frames(path: Path, number: int, process: subprocess.Popen[str]) -> None:
    """Until the file has so many frames."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if path.exists():
            with Recording.open(path) as recording:
                if len(recording) >= number:
                    return
        time.sleep(0.1)
    raise AssertionError(f"no {number} frames in time")


def test_a_qemu_that_is_killed_ends_the_recording_with_a_reason(boot: BootFunction, tmp_path: Path) -> None:
    path = tmp_path / "a.nxrec"
    guest = boot("7.3", "healthy", GuestOptions(paused=True))
    with recorder(guest, path) as process:
        wait_for_frames(path, 8, process)
        os.kill(guest.pid, signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert "QEMU has ended or hung up" in said
    with Recording.open(path) as recording:
        assert recording.end is not None
        assert recording.end.code == "closed"
        assert len(list(recording.frames())) >= 8


def test_ctrl_c_ends_the_recording_and_lets_the_guest_go_on(boot: BootFunction, tmp_path: Path) -> None:
    path = tmp_path / "a.nxrec"
    guest = boot("7.3", "healthy", GuestOptions(paused=True))
    with recorder(guest, path) as process:
        wait_for_frames(path, 5, process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert "interrupted" in said
    with Recording.open(path) as recording:
        assert recording.end is not None
        assert recording.end.code == "interrupted"
        assert recording.indexed
    guest.wait_ready()


def runs_again(guest: Guest, within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(TargetError), QmpConnection(str(guest.control_socket)) as qmp:
            if qmp.execute("query-status")["running"] is True:
                return True
        time.sleep(0.1)
    return False


def test_no_signal_leaves_the_guest_stopped_a_hang_up_and_a_kill_neither(
    boot: BootFunction, tmp_path: Path
) -> None:
    guest = boot("7.3", "healthy", None)
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL):
        path = tmp_path / f"{number}.nxrec"
        with recorder(guest, path) as process:
            wait_for_frames(path, 3, process)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert runs_again(guest), f"{number.name} left the guest stopped"
        assert left_of(path) == []
        with Recording.open(path) as recording:
            assert len(recording) >= 3
            ended = None if recording.end is None else recording.end.code
        expected = (-number, None) if number is signal.SIGKILL else (0, "interrupted")
        assert (process.returncode, ended) == expected, (number.name, said)


def test_a_recorder_that_crashes_in_c_leaves_what_it_had_recorded_and_the_guest_running(
    boot: BootFunction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, counted = tmp_path / "a.nxrec", tmp_path / "counted"
    site = tmp_path / "site"
    about = site / "zcrash-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: zcrash\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[explorer.plugins]\nzcrash = zcrash\n")
    fourth = f"open({str(counted)!r}, 'a').write('x'); os.path.getsize({str(counted)!r}) > 3 and ctypes.string_at(0)"
    crashing_plugin(site, collect=fourth)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))
    guest = boot("7.3", "healthy", None)
    with recorder(guest, path, "--plugins") as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 3, said
    (line,) = (line for line in said.splitlines() if "SIGSEGV" in line)
    assert line.startswith("nullfs-explorer: qemu:")
    assert line.endswith(f"while it read the target: {path} holds what was recorded until then")
    assert runs_again(guest), "the crash left the guest stopped"
    assert left_of(path) == []
    with Recording.open(path) as recording:
        assert recording.end is None
        assert len([frame for frame in recording.frames() if frame.snapshot is not None]) == 3


def left_of(path: Path) -> list[str]:
    """The processes that still name a recording; the keeper ends by itself."""
    deadline = time.monotonic() + 10
    while (left := [each.name for each in Path("/proc").glob("[0-9]*") if _names(each, path)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.1)
    return left


def _names(process: Path, path: Path) -> bool:
    try:
        return os.fsencode(path) in (process / "cmdline").read_bytes()
    except OSError:
        return False


def test_a_reply_to_an_interrupted_command_is_not_taken_for_the_next_ones(boot: BootFunction) -> None:
    """A Ctrl-C while the guest is being stopped: to hang up on that reply would leave it stopped."""
    guest = boot("7.3", "healthy", GuestOptions(paused=True))
    control = GuestControl(str(guest.control_socket))
    try:
        with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
            patch.setattr(control, "_receive", _interrupt)
            control.execute("query-version")
        assert control.execute("query-status")["status"] == "prelaunch"
    finally:
        control.close()


def test_a_guest_is_let_go_on_though_its_qemu_was_too_slow_to_stop_it(boot: BootFunction) -> None:
    """A QEMU that stands still for a while obeys the ``stop`` afterwards, when nobody waits for its reply any more."""
    guest = boot("7.3", "healthy", GuestOptions(paused=True))
    control = GuestControl(str(guest.control_socket))
    try:
        control.execute("cont")
        os.kill(guest.pid, signal.SIGSTOP)
        with pytest.raises(TargetError, match="does not answer"):
            control.execute("stop")
        os.kill(guest.pid, signal.SIGCONT)
        control.leave_running()
    finally:
        control.close()
    with QmpConnection(str(guest.control_socket)) as again:
        assert again.execute("query-status")["running"] is True


def _interrupt(deadline: float, limit: int) -> None:
    raise KeyboardInterrupt


def test_a_panic_ends_the_recording_with_a_reason(boot: BootFunction, tmp_path: Path) -> None:
    path = tmp_path / "a.nxrec"
    guest = boot("7.3", "healthy", GuestOptions(paused=True, append="rdinit=/absent root=/dev/absent"))
    with drained(guest):
        done = record_guest(guest, path, *_LONGEST)
    assert done.returncode == 1, done.stderr
    with Recording.open(path) as recording:
        assert recording.end is not None
        assert recording.end.code in ("shutdown", "panic")
        assert recording.segments[0].release is not None


def test_a_reboot_begins_a_new_segment(boot: BootFunction, tmp_path: Path) -> None:
    """The kernel panics for want of an init, and panic=-1 boots again at once."""
    path = tmp_path / "a.nxrec"
    options = GuestOptions(paused=True, reboot=True, append="rdinit=/absent root=/dev/absent")
    guest = boot("7.3", "healthy", options)
    with drained(guest), recorder(guest, path, "--step", "100ms") as process:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.3)
            if path.exists():
                with Recording.open(path) as recording:
                    # A boot that ends before its kernel was found, far up in memory, is followed by another.
                    if sum(segment.release is not None for segment in recording.segments) > 1:
                        break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    with Recording.open(path) as recording:
        assert [segment.why for segment in recording.segments[:2]] == ["start", "reset"]
        first, second, *_ = [segment for segment in recording.segments if segment.release is not None]
        assert second.why == "reset"
        assert first.release == second.release == guest.kernel.release
        assert first.build_id == second.build_id is not None
        numbers = [recording.frame(index).segment for index in range(len(recording))]
        assert numbers == sorted(numbers)
        assert recording.unreadable[second.first], "a machine that was just reset has no kernel yet"


def test_a_guest_that_runs_on_is_recorded_too_and_said_to_have_run(
    boot: BootFunction, tmp_path: Path
) -> None:
    path = tmp_path / "a.nxrec"
    guest = boot("7.3", "healthy", None)
    words = [*COMMAND, "record", "--qemu", str(guest.qmp_socket), "--free-running", "--step", "100ms"]
    done = subprocess.run(
        [*words, "--for", "1s", "-o", str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in (0, 4), done.stderr
    with Recording.open(path) as recording:
        assert recording.header.mode == "poll"
        assert not any(recording.unreadable)
        assert len(recording) >= 3
        assert not recording.snapshot_at(None).capture.consistent


def test_a_guest_that_cannot_be_read_directly_costs_no_recording_that_is_there(
    boot: BootFunction, tmp_path: Path
) -> None:
    path = tmp_path / "a.nxrec"
    path.write_bytes(b"of yesterday")
    guest = boot("7.3", "healthy", GuestOptions(paused=True, tcp=True))
    words = [*COMMAND, "record", "--qemu", f"127.0.0.1:{guest.tcp_port}", "--free-running", "-o", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1), done.stderr
    assert "recording needs QEMU's memory itself" in done.stderr
    assert path.read_bytes() == b"of yesterday"
    assert list(tmp_path.iterdir()) == [path]


def test_record_boot_starts_qemu_and_leaves_nothing_of_it(tmp_path: Path) -> None:
    kernel = kernel_or_skip("7.3")
    initrd, path, console = (tmp_path / name for name in ("initrd", "boot,1.nxrec", "console"))
    initrd.write_bytes(build_initramfs(kernel, find_scenario("switch-root"), 8))
    (tmp_path / "tmp").mkdir()
    words = [*COMMAND, "record", "--boot", str(kernel.vmlinuz), "--initrd", str(initrd), "-m", "256"]
    words += [
        "--append",
        "console=ttyS0 loglevel=4 panic=-1 nx.scenario=switch-root",
        "--console",
        str(console),
    ]
    words += [
        "--disk",
        str(build_root_image()),
        "--until",
        "task(1).comm == init",
        *_LONGEST,
        "-o",
        str(path),
    ]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )
    assert done.returncode == 0, done.stderr
    assert "KVM" in done.stderr, "which acceleration was chosen is said"
    with Recording.open(path) as recording:
        assert recording.header.mode == "boot"
        assert recording.end is not None
        assert recording.end.code == "until"
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not _running(tmp_path), "QEMU is gone"


def _running(directory: Path) -> list[str]:
    """Processes that name the directory on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if str(directory).encode() in words:
            found.append(entry.parent.name)
    return found
