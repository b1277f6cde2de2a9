"""Which rights a guest's reader and recorder have while they parse it: a real QEMU, whose CPUs never run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import SAMPLE
from tests.unit.standing_guest import StandingGuest, standing_guest
from tests.unit.targets.test_privilege_drop import NOBODY, SUDO, as_root, open_up, watched_at

_PTRACE = 1 << 19
_CALLERS = pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingGuest]:
    """Root's: nobody else may connect to its sockets."""
    directory = tmp_path_factory.mktemp("guest")
    open_up(directory)
    with standing_guest(directory, SAMPLE) as found:
        yield found


def assert_reads_qemu_alone(threads: list[dict[str, str]], uid: int) -> None:
    """The one right that is checked at every read of QEMU's memory, and no way to any other."""
    assert threads
    for thread in threads:
        assert thread["Uid"].split() == [str(uid)] * 4
        assert {int(thread[name], 16) for name in ("CapEff", "CapPrm")} == {_PTRACE}
        assert int(thread["CapBnd"], 16) & ~_PTRACE == 0
        assert int(thread["CapInh"], 16) == int(thread["CapAmb"], 16) == 0
        assert (thread["NoNewPrivs"], thread["Seccomp"].strip()) == ("1", "2")


@as_root
@_CALLERS
@pytest.mark.parametrize("step", ["query_guest", "parse_found", "attach_types", "capture_tasks"])
def test_nothing_a_guest_says_or_holds_is_parsed_with_more_than_the_right_to_read_qemu(
    guest: StandingGuest, tmp_path: Path, caller: dict[str, str], step: str
) -> None:
    done, threads = watched_at(step, tmp_path, caller, "tasks", f"qemu:{guest.memory}", "--no-cache")
    assert done.returncode == 4, done.stderr
    assert "failfs" in done.stdout
    assert_reads_qemu_alone(threads, NOBODY if caller else 0)


@as_root
@_CALLERS
def test_a_guest_is_recorded_with_the_right_to_read_qemu_alone_and_left_as_it_was(
    guest: StandingGuest, tmp_path: Path, caller: dict[str, str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if caller:
        os.chown(out, NOBODY, NOBODY)
    words = (
        "record",
        "--qemu",
        guest.memory,
        "--free-running",
        "--for",
        "1.5s",
        "--no-cache",
        "-o",
        out / "a.nxrec",
    )
    for step in ("query_guest", "attach_types"):
        done, threads = watched_at(step, tmp_path, caller, *words)
        assert done.returncode in (0, 4), done.stderr
        assert_reads_qemu_alone(threads, NOBODY if caller else 0)
    assert (out / "a.nxrec").stat().st_uid == (NOBODY if caller else 0)


@as_root
@_CALLERS
def test_both_sides_of_a_diff_are_parsed_without_rights_that_only_opening_took(
    guest: StandingGuest, tmp_path: Path, caller: dict[str, str]
) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(SAMPLE.read_bytes())
    dump.chmod(0o600)
    words = ("diff", dump, f"qemu:{guest.memory}", "--no-cache")
    done, threads = watched_at("open_program", tmp_path, caller, *words)
    assert done.returncode == 4, done.stderr
    assert_reads_qemu_alone(threads, NOBODY if caller else 0)


@as_root
def test_a_socket_that_was_not_named_is_not_connected_to_by_what_keeps_the_right_to(
    guest: StandingGuest, tmp_path: Path
) -> None:
    from tests.unit.targets.test_privilege_drop import script

    code = (
        "from explorer.cli.process import keep_only, note_program\n"
        "from explorer.targets import Needs\n"
        "from explorer.targets.qemu import QmpConnection, hold_guest\n"
        "import socket, sys\n"
        "note_program(True)\n"
        f"hold_guest({str(guest.memory)!r})\n"
        "keep_only(Needs(guest=True))\n"
        "for path in sys.argv[1:] or "
        f"({str(guest.memory)!r}, {str(guest.control)!r}, {str(guest.memory)!r}):\n"
        "    try:\n"
        "        with QmpConnection(path) as qmp:\n"
        "            print(qmp.execute('query-status')['status'], qmp.peer > 1)\n"
        "    except Exception as error:\n        print(error)\n"
        "try:\n    socket.socket()\nexcept PermissionError:\n    print('no sockets')\n"
    )
    said = script(code)
    assert said.stdout.splitlines() == [
        "prelaunch True",
        f"qemu:{guest.control}: the right to connect to it has been given up",
        "prelaunch True",
        "no sockets",
    ], said


@as_root
def test_nobody_is_left_who_could_connect_when_the_reader_has_ended(
    guest: StandingGuest, tmp_path: Path
) -> None:
    before = {path.name for path in Path("/proc").glob("[0-9]*")}
    done, _ = watched_at("open_program", tmp_path, {}, "tasks", f"qemu:{guest.memory}", "--no-cache")
    assert done.returncode == 4
    left = [path for path in Path("/proc").glob("[0-9]*") if path.name not in before and _is_the_tool(path)]
    assert left == []


def _is_the_tool(process: Path) -> bool:
    try:
        return b"\0explorer\0tasks\0qemu:" in (process / "cmdline").read_bytes()
    except OSError:
        return False
