"""What /proc tells of this very machine: of processes of the test's own, what they made of themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.model import Generation, Snapshot, TaskKind
from explorer.procfs import capture_proc
from explorer.procfs.mounttable import parse_table
from explorer.procfs.sharing import Sharing
from explorer.procfs.syscalls import find_place
from explorer.procfs.threads import Thread, kind_of, read_thread
from tests.conftest import Run

_APART = "import os, sys; os.chdir(sys.argv[1]); os.umask(0o027); print(flush=True); sys.stdin.read()"


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[int]:
    """A process that has gone to a directory of its own, which is gone by now."""
    gone = tmp_path / "gone"
    gone.mkdir()
    command = [sys.executable, "-c", _APART, str(gone)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        gone.rmdir()
        yield process.pid
        process.kill()


def test_a_process_of_ones_own_is_told_as_it_made_itself(apart: int, tmp_path: Path) -> None:
    snapshot = capture_proc()
    task = next(task for task in snapshot.tasks if task.pid == apart)
    fs = snapshot.fs_by_address[task.fs or 0]
    assert (task.ppid, task.kind, task.tgid) == (os.getpid(), TaskKind.USER, apart)
    assert (fs.umask, fs.sharers, fs.users, fs.in_exec) == ("0027", 1, None, None)
    assert fs.pwd is not None
    assert fs.pwd.path == f"{tmp_path.resolve()}/gone (deleted)"
    assert fs.root is not None
    assert fs.root.mount == find_place("/").mount
    assert (task.real_fs, task.kthread, task.walk) == (None, None, None)


def test_threads_of_one_process_share_and_a_child_does_not(apart: int) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        snapshot = capture_proc()
        mine = [task for task in snapshot.tasks if task.tgid == os.getpid()]
        sharing = Sharing()
        assert sharing.group_of(apart) == apart
        assert sharing.group_of(mine[0].pid) == sharing.group_of(mine[1].pid) == mine[0].pid
    finally:
        done.set()
        thread.join()
    assert len(mine) >= 2
    assert len({task.fs for task in mine}) == 1
    assert mine[0].fs != next(task.fs for task in snapshot.tasks if task.pid == apart)
    assert snapshot.fs_by_address[mine[0].fs or 0].sharers == len(mine)
    with pytest.raises(ProcessLookupError):
        sharing.group_of(1 << 22)


def test_the_commands_take_it_and_a_saved_one_is_the_same(run: Run, tmp_path: Path) -> None:
    made = run("snapshot", "proc", "-o", "proc.json")
    assert made.returncode in (0, 4), made.stderr
    document = json.loads((tmp_path / "proc.json").read_text())
    assert document["capture"]["source"] == {"kind": "proc", "target": "proc"}
    assert document["kernel"]["release"] == os.uname().release
    assert document["kernel"]["generation"] in set(Generation)
    assert {task["pid"] for task in document["tasks"]} >= {1, os.getpid()}
    for words in (
        ("tasks", "proc.json"),
        ("audit", "proc.json", "--fail-on", "critical"),
        ("tasks", "proc", "--all"),
    ):
        ran = run(*words)
        assert ran.returncode in (0, 4), ran.stderr
        assert "Traceback" not in ran.stderr
        assert "from /proc" in ran.stdout or words[0] == "audit"
    differs = run("diff", "proc.json", "proc")
    assert "Traceback" not in differs.stderr
    assert run("slice", "proc", "-o", "x.elf").returncode == 3


def test_what_is_counted_only_in_memory_is_not_called_a_difference(run: Run) -> None:
    assert "differ from the holders" not in run("tasks", "proc").stdout


def thread(name: bytes, flags: int, tgid: int = 7, ppid: int = 2) -> Thread:
    return Thread("", tgid, tgid, ppid, name, "S", flags, 0, None, None, None, None)


@pytest.mark.parametrize(
    ("name", "flags", "kind", "comm"),
    [
        (b"kworker/u4:1-events_unbound", 0x200020, TaskKind.KWORKER, "kworker/u4:1"),
        (b"kworker/0:1H+kblockd", 0x200020, TaskKind.KWORKER, "kworker/0:1H"),
        (b"kworker/R-mm_percpu_wq", 0x200020, TaskKind.RESCUER, "kworker/R-mm_pe"),
        (b"nfsiod", 0x200020, TaskKind.RESCUER, "nfsiod"),
        (b"kworker/like", 0x200000, TaskKind.KTHREAD, "kworker/like"),
        (b"rcu_tasks_rude_kthread", 0x200000, TaskKind.KTHREAD, "rcu_tasks_rude_"),
        (b"kworker/0:1-x", 0x400000, TaskKind.USERMODEHELPER, "kworker/0:1-x"),
    ],
)
def test_kinds_and_names_are_those_of_a_capture(name: bytes, flags: int, kind: TaskKind, comm: str) -> None:
    found = thread(name, flags)
    assert kind_of(found, thread(b"kthreadd", 0x200000, 2, 0)) is kind
    assert found.comm == comm


def test_a_worker_is_a_thread_of_its_process_and_a_process_that_loaded_modules_before_5_17_is_none() -> None:
    loader = thread(b"(udev-worker)", 0x404000, ppid=1)
    assert kind_of(loader, thread(b"init", 0x400100, 1, 0)) is TaskKind.USER
    for flag in (0x10, 0x4000):
        worker = dataclasses.replace(thread(b"iou-wrk-7", 0x400000 | flag, ppid=1), pid=8)
        assert kind_of(worker, thread(b"init", 0x400100, 1, 0)) is TaskKind.IO_WORKER


def test_a_name_with_a_parenthesis_and_a_newline_is_read_whole() -> None:
    assert read_thread(os.getpid(), os.getpid()).tgid == os.getpid()
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) S 1 (\\n'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = read_thread(process.pid, process.pid)
        process.kill()
    assert (found.name, found.ppid) == (b"a) S 1 (\n", os.getpid())


def test_a_line_of_mountinfo_is_taken_apart_and_a_broken_one_is_none() -> None:
    line = rb"36 35 98:0 /a\040b /mnt\134x rw,noatime,nosuid shared:1 master:2 propagate_from:3 - ext3.sub /dev/root rw"
    bind = b"37 36 0:5 / /\xff ro unbindable - tmpfs none rw"
    found = dict(parse_table(b"\n".join([line, b"garbage", bind, b""]), 9))
    first, second = found[36], found[37]
    assert (first.root, first.mountpoint, first.fstype, first.source) == (
        "/a b",
        "/mnt\\x",
        "ext3.sub",
        "/dev/root",
    )
    assert (first.shared, first.master, first.propagate_from, first.unbindable) == (1, 2, 3, False)
    assert first.options == ["rw", "noatime", "nosuid"]
    assert (second.mountpoint, second.unbindable, second.shared) == ("/\udcff", True, None)
    assert list(found) == [36, 37]


def test_a_kernel_that_names_nothing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.procfs import generation
    from explorer.targets import TargetError

    monkeypatch.setattr(generation, "_KALLSYMS", Path("/nothing/here"))
    with pytest.raises(TargetError, match="isolates its threads"):
        capture_proc()


def test_a_snapshot_of_proc_is_what_the_schema_says(run: Run) -> None:
    assert Snapshot.model_validate(capture_proc().model_dump(mode="json")).tasks
