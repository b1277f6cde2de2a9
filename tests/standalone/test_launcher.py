"""What carries the one file's content, with a shell script in place of Python: how it unpacks, waits and cleans up."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.standalone.build import build_launcher
from tests.standalone.tree import LOADER

#: In place of the C library's loader, and of all that runs under it: what it is given, behind its own six words and
#: this file's name, is shell; ``$dir`` is where it was unpacked to.
_PROGRAM = """#!/bin/sh
dir=${0%/*}
shift 6
file=$1 script=$2
shift 2
eval "$script"
"""
_ZEROS = 3_000_000
_WAIT_S = 20.0
_OTHER_USER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make what this is about")

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    (root / LOADER).write_text(_PROGRAM)
    (root / LOADER).chmod(0o755)
    (root / "lib").mkdir()
    (root / "lib" / "sparse").write_bytes(b"\1" + bytes(_ZEROS) + b"\2")
    file = tmp_path_factory.mktemp("launcher") / "nullfs-explorer"
    build_launcher(root, file)
    return file


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where it unpacks: only this user may write there."""
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    return place


@pytest.fixture
def start(launcher: Path, place: Path) -> Start:
    def start_launcher(*words: str, **variables: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "TMPDIR": str(place), **variables}
        return subprocess.Popen(
            [launcher, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start_launcher


@pytest.fixture
def run(start: Start) -> Run:
    def run_launcher(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        process = start(*words, **variables)
        printed, said = process.communicate(timeout=_WAIT_S)
        return subprocess.CompletedProcess(words, process.returncode, printed, said)

    return run_launcher


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_words_and_the_exit_code_are_handed_through(run: Run, launcher: Path) -> None:
    ran = run('printf "%s|" "$file" "$@"; exit 7', "one", "two words", "", "-h")
    assert ran.stdout == f"{launcher}|one|two words||-h|"
    assert ran.returncode == 7


def test_it_unpacks_where_only_this_user_can_look_and_leaves_nothing(run: Run, place: Path) -> None:
    said = run('stat -c "%a %u" "$dir"; echo "$dir"; umask; pwd')
    mode, directory, mask, where = said.stdout.splitlines()
    assert mode == f"700 {os.geteuid()}"
    assert Path(directory).parent == place
    assert (int(mask, 8), where) == (_umask(), str(Path.cwd())), "what the caller has is left as it is"
    assert list(place.iterdir()) == []


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_zeros_take_no_space_and_are_there(run: Run, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    said = run(f'stat -c %b "$dir/lib/sparse"; cat "$dir/lib/sparse" > {kept}')
    assert int(said.stdout) * 512 < _ZEROS / 100
    assert kept.read_bytes() == b"\1" + bytes(_ZEROS) + b"\2"


def test_a_signal_that_ends_the_program_ends_it_so(run: Run, place: Path) -> None:
    assert run("kill -SEGV $$").returncode == -signal.SIGSEGV
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "USR1"])
def test_a_signal_that_it_is_sent_reaches_the_program(name: str, start: Start, place: Path) -> None:
    script = f'trap "echo heard; exit 9" {name}; echo ready; while :; do sleep 0.05; done'
    process = start(script)
    assert first_line(process) == "ready"
    process.send_signal(getattr(signal, f"SIG{name}"))
    printed, _ = process.communicate(timeout=_WAIT_S)
    assert (printed, process.returncode) == ("heard\n", 9)
    assert list(place.iterdir()) == []


def test_a_signal_that_nobody_heeds_ends_both_and_leaves_nothing(start: Start, place: Path) -> None:
    process = start("echo ready; exec sleep 60")
    assert first_line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=_WAIT_S)
    assert process.returncode == -signal.SIGTERM
    assert list(place.iterdir()) == []


def test_the_program_does_not_outlive_it(start: Start) -> None:
    process = start("echo $$; exec sleep 60")
    program = Path("/proc") / first_line(process)
    process.kill()
    process.communicate(timeout=_WAIT_S)  # until nobody has the other end of its output
    assert not program.exists() or "sleep" not in (program / "cmdline").read_text()


def test_it_stops_with_the_program_and_goes_on_with_it(start: Start) -> None:
    process = start("echo ready; kill -STOP $$; echo again; exit 3")
    assert first_line(process) == "ready"
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    printed, _ = process.communicate(timeout=_WAIT_S)
    assert (printed, process.returncode) == ("again\n", 3)


def test_whoever_ignores_its_children_gets_the_exit_code(launcher: Path) -> None:
    words = ["sh", "-c", "trap '' CHLD; exec \"$0\" 'exit 4'", str(launcher)]
    assert subprocess.run(words, timeout=_WAIT_S, check=False).returncode == 4


def test_libraries_for_another_c_library_are_not_loaded(run: Run) -> None:
    assert run('echo "${LD_PRELOAD-none}"', LD_PRELOAD="").stdout == "none\n"


def refused(ran: subprocess.CompletedProcess[str]) -> str:
    """What the one line says of why it cannot be unpacked."""
    assert ran.returncode == 3
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    assert line.startswith("nullfs-explorer: ")
    return line


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o703])
def test_where_others_can_write_nothing_is_unpacked(mode: int, run: Run, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "below").mkdir(parents=True)
    shared.chmod(mode)
    for place in (shared, shared / "below"):
        if mode & 0o022:
            assert "others may replace what is in it" in refused(run("echo run", TMPDIR=str(place)))
        else:
            assert run("echo run", TMPDIR=str(place)).stdout == "run\n"
    shared.chmod(mode | 0o1000)
    assert run("echo run", TMPDIR=str(shared)).stdout == "run\n", (
        "as /tmp is: nobody may rename what is another's"
    )


@needs_root
def test_below_another_users_directory_root_unpacks_nothing(run: Run, tmp_path: Path) -> None:
    (tmp_path / "theirs" / "below").mkdir(parents=True)
    os.chown(tmp_path / "theirs", _OTHER_USER, _OTHER_USER)
    for place in (tmp_path / "theirs", tmp_path / "theirs" / "below"):
        assert "is another user's" in refused(run("echo run", TMPDIR=str(place)))
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    assert "is another user's" in refused(run("echo run", TMPDIR=str(tmp_path / "link")))


def test_a_place_that_is_none_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "No such file" in refused(run("echo run", TMPDIR=str(tmp_path / "none")))
    assert "it is no directory" in refused(run("echo run", TMPDIR=str(tmp_path / "file")))


@needs_root
@pytest.mark.parametrize(
    ("options", "said"), [("noexec", "it is mounted noexec"), ("size=8k", "No space left on device")]
)
def test_where_it_cannot_be_run_or_has_no_room_is_one_line(
    options: str, said: str, launcher: Path, place: Path
) -> None:
    script = (
        f"mount -t tmpfs -o {options} tmp {place} && {{ {launcher} 'echo run'; echo $? >&2; ls {place}; }}"
    )
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
        check=True,
    )
    line, code = ran.stderr.splitlines()
    assert said in line
    assert (code, ran.stdout) == ("3", "")


@pytest.mark.parametrize("place_in_it", [0.1, 0.5, 0.99])
def test_a_file_that_was_changed_says_so(
    place_in_it: float, launcher: Path, place: Path, tmp_path: Path
) -> None:
    sections = subprocess.run(["readelf", "-WS", launcher], capture_output=True, text=True, check=True).stdout
    found = re.search(r" \.archive +PROGBITS +\S+ (\S+) (\S+) ", sections)
    assert found is not None
    offset, size = (int(number, 16) for number in found.groups())
    content = bytearray(launcher.read_bytes())
    content[offset + int(size * place_in_it)] ^= 0x10
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    environment = {**os.environ, "TMPDIR": str(place)}
    ran = subprocess.run([damaged, "echo run"], env=environment, capture_output=True, text=True, check=False)
    assert "this file is damaged" in refused(ran)
    assert list(place.iterdir()) == []
