"""A target that comes through a pipe is read as the file would be; a pipe that would be waited for is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from explorer.targets.detect import detect_target
from explorer.targets.dumps import streams
from explorer.targets.dumps.streams import readable_path
from explorer.targets.errors import TargetError
from tests.conftest import DATA, FIXTURES, SAMPLE

COMMAND = f"{sys.executable} -m explorer"
RFC = FIXTURES["rfc-v1"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_spooled", {})


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved snapshot of the sample."""
    path = tmp_path_factory.mktemp("saved") / "s.json.zst"
    bash(path.parent, f"{COMMAND} snapshot {SAMPLE} -o {path}")
    return path


def bash(directory: Path, words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(DATA.parent.parent), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("what", ["snapshot", "vmcore", "plain vmcore"])
@pytest.mark.parametrize(
    "words",
    [
        "cat {0} | {1} tasks --all -",
        "cat {0} | {1} tasks --all /dev/stdin",
        "{1} tasks --all <(cat {0})",
        "{1} tasks --all - <{0}",
        "cat {0} | {1} tasks --all -c -",
        "mkfifo p; (sleep 0.3; cat {0} >p) & {1} tasks --all p",
    ],
)
def test_what_comes_through_a_pipe_does_not_differ_from_its_file(
    tmp_path: Path, snapshot: Path, what: str, words: str
) -> None:
    path = snapshot if what == "snapshot" else SAMPLE
    if what == "plain vmcore":
        path = tmp_path / "plain"
        with SAMPLE.open("rb") as packed, path.open("wb") as plain:
            zstandard.ZstdDecompressor().copy_stream(packed, plain)
    (tmp_path / "tmp").mkdir()
    result = bash(tmp_path, words.format(path, COMMAND), TMPDIR=str(tmp_path / "tmp"))
    assert (result.returncode, result.stderr) == (0, "")
    direct = bash(tmp_path, f"{COMMAND} tasks --all {path}").stdout
    # the head names the target, and says how long reading took
    assert result.stdout.partition("\n\n")[2] == direct.partition("\n\n")[2] != ""
    assert "/proc/self/fd" not in result.stdout
    assert list((tmp_path / "tmp").iterdir()) == [], "nothing is left of the temporary file"


def test_two_pipes_are_two_targets(tmp_path: Path, snapshot: Path) -> None:
    result = bash(tmp_path, f"{COMMAND} diff <(cat {RFC}) <(zstdcat {snapshot}) --format json")
    assert (result.returncode, result.stderr) == (1, "")
    same = bash(tmp_path, f"{COMMAND} diff <(cat {SAMPLE}) {SAMPLE}")
    assert same.returncode == 0, same.stdout


def test_a_crash_while_a_pipe_is_read_loses_nothing_more_than_with_a_file(tmp_path: Path) -> None:
    """The temporary file is open in the watcher, the reader and the keeper."""
    from tests.crashing import crashing_plugin

    plugin = crashing_plugin(tmp_path)
    result = bash(tmp_path, f"cat {SAMPLE} | {COMMAND} tasks --all - --plugin {plugin}")
    assert result.returncode == 4 and "SIGSEGV" in result.stderr and "kthreadd" in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("yes | {} tasks -", "neither an ELF, kdump or LiME dump"),
        ("{} tasks - </dev/zero", "standard input is no file and no pipe"),
        ("{} tasks /dev/zero", "a character device"),
        ("true | {} tasks -", "a pipe that nobody writes to"),
        ("mkfifo p; {} tasks p", "a pipe that nobody writes to"),
        (f"head -c 1000 {SAMPLE} | {{}} tasks -", "truncated zstd file"),
        ("head -c 90 /dev/zero | {} timeline -", "- is no recording"),
        ("echo '{\"schema_version\": 1}' | {} tasks -", "- is no"),
        ("mkfifo p; {} tasks sample -s p", "a pipe"),
    ],
)
def test_a_pipe_with_nothing_in_it_to_read_is_one_clear_line(tmp_path: Path, words: str, said: str) -> None:
    begin = time.monotonic()
    result = bash(tmp_path, words.replace("{}", COMMAND))
    assert result.returncode == 3 and said in result.stderr and "fault" not in result.stderr, result.stderr
    assert "/proc/self" not in result.stderr
    assert time.monotonic() - begin < 60


@pytest.fixture
def talking(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A FIFO, and the end to write to it."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield str(path), fd
    os.close(fd)


def test_a_pipe_that_falls_silent_is_not_waited_for(talking: tuple[str, int]) -> None:
    name, fd = talking
    with pytest.raises(TargetError, match="nothing came"):
        readable_path(name, silence_s=0.1)
    os.write(fd, b"\x7fELF" + bytes(100))
    with pytest.raises(TargetError, match="nothing came"):
        readable_path(name, silence_s=0.1)


def test_a_pipe_that_never_ends_fills_neither_disk_nor_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "_MOST", 8 << 20)
    reader, writer = os.pipe()
    process = subprocess.Popen(["bash", "-c", r"printf '\x7fELF'; exec cat /dev/zero"], stdout=writer)
    os.close(writer)
    try:
        with pytest.raises(TargetError, match="from a pipe: save it to a file first"):
            readable_path(f"/dev/fd/{reader}")
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_a_socket_on_stdin_is_read_too(tmp_path: Path, snapshot: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "explorer", "tasks", "-"],
            stdin=theirs.fileno(),
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(DATA.parent.parent)},
        )
        theirs.close()
        ours.sendall(snapshot.read_bytes())
        ours.shutdown(socket.SHUT_WR)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and b"ISOLATED" in out


def test_a_pipe_named_twice_is_read_once_and_opened_as_often_as_needed() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"no known format")
    os.close(writer)
    for _ in range(2):
        spec = detect_target(f"physmem:/dev/fd/{reader}")
        assert spec.is_pipe and spec.path is not None
        assert spec.path.read_bytes() == b"no known format"
    os.close(reader)


def test_a_pipe_is_still_readable_for_the_user_that_the_command_becomes_under_sudo(
    tmp_path: Path, snapshot: Path
) -> None:
    """Rights are given up before a snapshot is parsed; the temporary file was made with them."""
    if os.geteuid() != 0:
        pytest.skip("needs root, as sudo gives it")
    user = {"SUDO_UID": "65534", "SUDO_GID": "65534", "SUDO_USER": "nobody"}
    result = bash(tmp_path, f"cat {snapshot} | {COMMAND} tasks -", **user)
    assert (result.returncode, result.stderr) == (0, "")
    assert "ISOLATED" in result.stdout
