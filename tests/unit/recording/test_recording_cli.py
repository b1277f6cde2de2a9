"""``record``, ``timeline``, ``frame`` and recordings as targets, as scripts use them."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from explorer.recording.reader import Recording
from tests.conftest import DATA, Run
from tests.unit.cli.test_cli import assert_one_clear_line

BOOT = DATA / "boot-7.3.nxrec"
with Recording.open(BOOT) as _recording:
    #: A few frames behind the first one that shows a kernel: it is in its initcalls.
    EARLY = _recording.unreadable.index(False) + 3
    LATE_S = _recording.times[-1] - 0.5


def test_a_timeline_is_printed_as_text_and_as_json(run: Run) -> None:
    text = run("timeline", BOOT)
    assert text.returncode == 0, text.stderr
    assert re.search(r"PID 1 went from rootfs#2 to squashfs#\d+ by switch_root", text.stdout)
    assert "in do_populate_rootfs" in text.stdout
    document = json.loads(run("timeline", "--json", BOOT).stdout)
    assert set(document) >= {"recording", "phases", "events", "borrows", "worlds", "borrowers", "tasks"}
    assert {len(numbers) for numbers in document["worlds"].values()} == {document["recording"]["frames"]}
    assert len(document["events"]) == text.stdout.count("  #")


@pytest.mark.parametrize("command", ["tasks", "audit", "snapshot"])
def test_a_frame_is_a_target_of_every_command(command: str, run: Run) -> None:
    for target in (str(BOOT), f"{BOOT}@{LATE_S:.3f}s", f"{BOOT}@#{EARLY}"):
        result = run(command, target)
        # in the last frame a child of PID 1 shares its fs_struct: the audit has something to say
        assert result.returncode in ((0, 1) if command == "audit" else (0,)), result.stderr
        assert "7.3" in result.stdout


def test_two_frames_are_compared_as_two_snapshots_of_one_boot(run: Run) -> None:
    result = run("diff", f"{BOOT}@#{EARLY}", BOOT)
    assert result.returncode == 1, result.stderr
    assert "The same boot" in result.stdout
    assert "overmount: none → squashfs" in result.stdout


def test_a_frame_is_exported_as_the_snapshot_that_it_is(run: Run, tmp_path: Path) -> None:
    assert run("frame", BOOT, f"@#{EARLY}", "-o", "f.json").returncode == 0
    assert stat.S_IMODE((tmp_path / "f.json").stat().st_mode) == 0o600
    assert run("snapshot", f"{BOOT}@#{EARLY}").stdout == (tmp_path / "f.json").read_text()
    assert run("diff", "f.json", f"{BOOT}@#{EARLY}").returncode == 0


@pytest.mark.parametrize("moment", ["@#99999", "@x", "@#0", "@-1"])
def test_a_moment_that_shows_no_snapshot_is_one_clear_line(moment: str, run: Run) -> None:
    assert_one_clear_line(
        run("tasks", f"{BOOT}{moment}"), 3, "boot-7.3.nxrec" if moment[1] == "#" else moment
    )


def test_what_is_no_recording_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("hello")
    assert_one_clear_line(run("timeline", "x"), 3, "no recording")
    assert_one_clear_line(run("timeline", "absent"), 3, "No such file")
    (tmp_path / "cut").write_bytes(BOOT.read_bytes()[:20])
    assert_one_clear_line(run("tasks", "cut"), 3, "header")


def test_a_cut_recording_is_shown_as_far_as_it_goes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(BOOT.read_bytes()[:-5000])
    result = run("timeline", "cut")
    assert result.returncode == 4
    assert "the recorder was killed" in result.stdout
    assert "cut off or damaged" in result.stdout
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["tasks", "audit", "snapshot", "frame"])
def test_the_last_frame_of_a_cut_recording_is_not_passed_off_as_the_last(
    command: str, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "cut").write_bytes(BOOT.read_bytes()[:-5000])
    result = run(command, "cut")
    assert "cut off or damaged" in result.stderr
    assert result.returncode == 4 or (command == "audit" and result.returncode == 1)
    named = run(*(("frame", "cut", f"#{EARLY}") if command == "frame" else (command, f"cut@#{EARLY}")))
    assert "cut off" not in named.stderr  # that frame is whole


def test_a_moment_behind_the_end_is_refused_as_a_frame_is(run: Run) -> None:
    with Recording.open(BOOT) as recording:
        last = recording.times[-1]
        end = recording.end
    assert end is not None
    assert_one_clear_line(run("tasks", f"{BOOT}@{last + 99:.1f}s"), 3, "it ends at")
    assert run("tasks", f"{BOOT}@{max(end.seconds, last):.3f}s").returncode == 0


def test_tables_of_a_frame_or_a_saved_snapshot_say_which_file_and_when(run: Run, tmp_path: Path) -> None:
    frame = f"boot-7.3.nxrec, frame {EARLY + 1} of "
    for command in ("tasks", "audit"):
        assert frame in " ".join(run(command, f"{BOOT}@#{EARLY}").stdout.split())
    assert frame in run("diff", f"{BOOT}@#{EARLY}", BOOT).stdout.splitlines()[0]
    assert run("frame", BOOT, f"@#{EARLY}", "-o", "saved.json").returncode == 0
    taken = json.loads((tmp_path / "saved.json").read_text())["capture"]["taken_at"]
    for command in ("tasks", "audit"):
        shown = " ".join(run(command, "saved.json").stdout.split())
        assert "saved.json (" in shown and f"{taken[:10]} {taken[11:19]} UTC" in shown


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sample",),
        ("live", "--qemu", "s"),
        ("--qemu", "s"),
        ("--boot", "k", "--control", "c"),
        ("live", "--initrd", "i"),
        ("live", "--step", "0s"),
        ("live", "--step", "x"),
        ("live", "--until", "task(1).nosuch == 1"),
        ("live", "--until", ""),
    ],
)
def test_wrong_usage_of_record_is_code_2_and_leaves_no_file(
    words: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    result = run("record", "-o", "x.nxrec", *words)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_is_not_there_is_one_clear_line(run: Run, tmp_path: Path) -> None:
    assert_one_clear_line(run("record", "--qemu", "a", "--control", "b", "-o", "x"), 3, "--control")
    assert_one_clear_line(run("record", "--qemu", "a", "--free-running", "-o", "x"), 3, "qemu:a")
    assert_one_clear_line(run("record", "--boot", "vmlinuz", "-o", "x"), 3, "no such file")
    (tmp_path / "vmlinuz").write_bytes(b"x")
    assert_one_clear_line(
        run("record", "--boot", "vmlinuz", "-o", "x", env={"PATH": "/absent"}), 3, "not on PATH"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["vmlinuz"]
