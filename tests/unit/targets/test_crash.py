"""A crash in C ends the reader: what it had read is kept, and it is said. The crashes are real ones."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from explorer.codec.snapshots import load_snapshot
from tests.conftest import DATA, FIXTURES, SAMPLE, Run, capture_file
from tests.crashing import crashing_plugin
from tests.signals import heed_signals

_REST = (
    "nullfs-explorer: 1 value could not be read; the first: capture: the rest: the reader was ended by signal"
)


def test_a_crash_while_the_rest_is_read_leaves_a_valid_snapshot_with_every_task(
    run: Run, tmp_path: Path
) -> None:
    result = run("snapshot", SAMPLE, "--plugin", crashing_plugin(tmp_path), "-o", "partial.json.zst")
    assert result.returncode == 4
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{_REST} SIGSEGV, while plugin zcrash collected: ")
    kept = load_snapshot(tmp_path / "partial.json.zst")
    whole = capture_file(SAMPLE)
    assert kept.tasks == whole.tasks and kept.fs_structs == whole.fs_structs and kept.kernel == whole.kernel
    assert kept.mounts and {mount.address for mount in kept.mounts} <= {m.address for m in whole.mounts}
    (error,) = kept.errors
    assert "workqueues, usermodehelpers, settings, modules, log and plugins are missing" in error.why
    assert (kept.settings, kept.modules, kept.plugins) == ([], [], {})
    assert stat.S_IMODE((tmp_path / "partial.json.zst").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["partial.json.zst", "zcrash.py"]
    again = run("tasks", "partial.json.zst")
    assert again.returncode == 4 and "kthreadd" in run("tasks", "--all", "partial.json.zst").stdout


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_what_is_kept_is_written_once_and_in_the_form_that_was_asked_for(
    run: Run, tmp_path: Path, form: str
) -> None:
    plugin = crashing_plugin(tmp_path)
    kept = run("snapshot", SAMPLE, "--plugin", plugin, "--format", form).stdout
    tasks = len(capture_file(SAMPLE).tasks)
    if form == "json":
        assert len(json.loads(kept)["tasks"]) == tasks
    elif form == "jsonl":
        types = [json.loads(line)["type"] for line in kept.splitlines()]
        assert types.count("snapshot") == 1 and types.count("task") == tasks
    else:
        assert len(kept.splitlines()) == tasks + 1


@pytest.mark.parametrize(
    "command",
    [("tasks",), ("audit", "--only", "NX-PID1-ABANDONED"), ("diff", SAMPLE), ("plugins",)],
    ids=lambda c: c[0],
)
def test_every_command_goes_on_with_what_was_kept(
    run: Run, tmp_path: Path, command: tuple[str | Path, ...]
) -> None:
    words = [*command, SAMPLE, "--plugin", crashing_plugin(tmp_path)]
    result = run(*words)
    assert result.stdout
    assert "Traceback" not in result.stderr
    assert "SIGSEGV" in result.stderr and result.returncode == 4


def test_a_crash_before_there_is_anything_to_keep_is_one_clear_line_and_no_file(
    run: Run, tmp_path: Path
) -> None:
    plugin = tmp_path / "atonce.py"
    plugin.write_text(
        '"""Crashes when it is imported for the second time: the first is a trial."""\nimport ctypes\n'
        f"from pathlib import Path\nif Path({str(tmp_path / 'tried')!r}).exists(): ctypes.string_at(0)\n"
        f"Path({str(tmp_path / 'tried')!r}).touch()\n"
    )
    result = run("snapshot", SAMPLE, "--plugin", plugin, "-o", "none.json")
    assert result.returncode == 3 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "the reader was ended by signal SIGSEGV, while it loaded the plugins" in line
    assert "nothing is written" in line
    assert not (tmp_path / "none.json").exists()


def test_two_targets_that_crash_one_after_the_other_are_still_compared(run: Run, tmp_path: Path) -> None:
    other = FIXTURES["nullfs-rootfs"]
    result = run("diff", SAMPLE, other, "--plugin", crashing_plugin(tmp_path), "--format", "json")
    assert result.returncode == 4  # a difference may be missing
    assert result.stderr.count("ended by signal SIGSEGV, while plugin zcrash collected") == 2
    assert json.loads(result.stdout)["differs"]


def test_a_slice_whose_reader_crashes_is_one_clear_line_and_no_file(run: Run, tmp_path: Path) -> None:
    result = run("slice", SAMPLE, "--plugin", crashing_plugin(tmp_path), "-o", "mini.elf")
    assert result.returncode == 3
    (line,) = result.stderr.splitlines()
    assert "SIGSEGV" in line and not (tmp_path / "mini.elf").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zcrash.py"]


def test_a_crash_after_the_capture_is_not_followed_by_a_second_output(run: Run, tmp_path: Path) -> None:
    result = run("audit", SAMPLE, "--plugin", crashing_plugin(tmp_path, "pass", "ctypes.string_at(0)"))
    assert result.returncode == 3 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "SIGSEGV" in line and "not complete" in line


_ENDS = "os._exit(0)"


@pytest.mark.parametrize(
    "command",
    [("tasks",), ("audit", "--only", "NX-PID1-ABANDONED"), ("diff", SAMPLE), ("plugins",), ("snapshot",)],
    ids=lambda c: c[0],
)
def test_a_plugin_that_ends_the_process_while_it_collects_is_as_one_that_crashes(
    run: Run, tmp_path: Path, command: tuple[str | Path, ...]
) -> None:
    result = run(*command, SAMPLE, "--plugin", crashing_plugin(tmp_path, collect=_ENDS))
    assert result.returncode == 4 and result.stdout
    assert "the reader has ended itself, while plugin zcrash collected" in result.stderr


@pytest.mark.parametrize("saved", [False, True], ids=["vmcore", "snapshot"])
@pytest.mark.parametrize("code", [0, 1])
def test_an_audit_does_not_end_as_a_plugin_says_that_ends_the_process_while_it_judges(
    run: Run, tmp_path: Path, saved: bool, code: int
) -> None:
    plugin = crashing_plugin(tmp_path, collect="pass", audit=f"os._exit({code})")
    if saved:
        assert run("snapshot", SAMPLE, "--plugin", plugin, "-o", "saved.json").returncode == 0
    result = run("audit", "saved.json" if saved else SAMPLE, "--plugin", plugin)
    assert result.returncode == 3 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert "the reader has ended itself" in line


def test_what_a_plugin_does_as_the_interpreter_ends_does_not_change_the_exit_code(
    run: Run, tmp_path: Path
) -> None:
    plugin = crashing_plugin(tmp_path, collect="import atexit; atexit.register(os._exit, 0)")
    words = ("audit", FIXTURES["rfc-v1"], "--fail-on", "info")
    assert run(*words).returncode == run(*words, "--plugin", plugin).returncode == 1


class Started:
    """The command, in a process group of its own, with a plugin that waits in ``collect``; it has written its pid."""

    def __init__(self, directory: Path) -> None:
        self._told = directory / "pid"
        waits = f"open({str(self._told)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(600)"
        plugin = crashing_plugin(directory, waits)
        self.output = directory / "out.json"
        self.watcher = subprocess.Popen(
            [sys.executable, "-m", "explorer", "snapshot", SAMPLE, "--plugin", plugin, "-o", self.output],
            env={**os.environ, "PYTHONPATH": str(DATA.parent.parent)},
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
            preexec_fn=heed_signals,
        )
        deadline = time.monotonic() + 60.0
        while not (self._told.exists() and self._told.read_text().endswith("\n")):
            assert time.monotonic() < deadline and self.watcher.poll() is None
            time.sleep(0.02)
        self.reader = int(self._told.read_text())

    def end(self) -> tuple[int, str]:
        """Exit code and stderr of the watcher, after all processes of the group have ended."""
        _, said = self.watcher.communicate(timeout=60.0)
        deadline = time.monotonic() + 60.0
        while self._is_anybody_left():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return self.watcher.returncode, said

    def _is_anybody_left(self) -> bool:
        try:
            os.killpg(self.watcher.pid, 0)
        except ProcessLookupError:
            return False
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = status.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == self.watcher.pid and fields[0] != "Z":
                return True
        return False


def test_a_reader_that_is_killed_is_a_crash_too(tmp_path: Path) -> None:
    started = Started(tmp_path)
    os.kill(started.reader, signal.SIGKILL)
    code, said = started.end()
    assert code == 4 and "ended by signal SIGKILL, while plugin zcrash collected" in said
    assert len(load_snapshot(started.output).tasks) == len(capture_file(SAMPLE).tasks)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_whoever_ends_the_command_gets_no_partial_output_and_no_process_stays(
    tmp_path: Path, number: signal.Signals
) -> None:
    started = Started(tmp_path)
    os.killpg(started.watcher.pid, number)  # as a terminal does
    code, said = started.end()
    assert code == (130 if number is signal.SIGINT else -number)
    assert said.strip() == ("Stopped." if number is signal.SIGINT else "")
    assert not started.output.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nobody_outlives_the_process_that_the_user_sees(tmp_path: Path, number: signal.Signals) -> None:
    started = Started(tmp_path)
    os.kill(started.watcher.pid, number)
    code, said = started.end()
    assert (code, said) == (-number, "")
    assert not started.output.exists()


def test_the_watcher_has_no_rights(tmp_path: Path) -> None:
    started = Started(tmp_path)
    lines = Path(f"/proc/{started.watcher.pid}/status").read_text().splitlines()
    os.kill(started.watcher.pid, signal.SIGKILL)
    started.end()
    status = dict(line.split(":\t") for line in lines if line.startswith(("Cap", "NoNew")))
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == "1"
