"""Every command that writes a file, and another user's things where that is to go: two real users, root under sudo's
environment for one of them. The same with the real sudo, in a guest: tests/kernels/test_live_rights.py.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from explorer.cli.command import _COMMANDS, cli
from tests.conftest import DATA, SAMPLE
from tests.tui.conftest import SAVED
from tests.unit.targets.test_privilege_drop import NOBODY, as_root, home, open_up, sudo

__all__ = ("home",)

_STRANGER = 12345
_RECORDING = DATA / "boot-7.3.nxrec"
#: By the command: what it writes, in place of ``OUT``. ``FLEET`` is a dataset of the caller's.
_WORDS = {
    "audit": f"audit {SAVED} --write-baseline OUT.json",
    "fleet report": "fleet report FLEET -o OUT",
    "fleet run": f"fleet run {SAVED} -o OUT --workers 1",
    "fleet tasks": "fleet tasks FLEET -o OUT",
    "frame": f"frame {_RECORDING}@1s -o OUT",
    "mounts": f"mounts {SAVED} -o OUT",
    "namespaces": f"namespaces {SAVED} -o OUT",
    "record": "record --qemu /nowhere --free-running -o OUT",
    "slice": f"slice {SAMPLE} -o OUT",
    "snapshot": f"snapshot {SAVED} -o OUT",
    "trace": f"trace {DATA / 'trace' / 'saved-7.3.jsonl'} -o OUT",
}
#: The options that name what is written.
_OUTPUTS = {"output", "write_baseline", "console"}


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in _COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        if not isinstance(command, click.Group):
            yield name, command
            continue
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield f"{name} {below}", found


def test_each_command_that_writes_a_file_is_attacked_here() -> None:
    writing = {
        name for name, command in commands() if _OUTPUTS & {parameter.name for parameter in command.params}
    }
    assert writing == set(_WORDS)


def as_stranger(do: Callable[[], object]) -> None:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setgroups([])
            os.setresgid(_STRANGER, _STRANGER, _STRANGER)
            os.setresuid(_STRANGER, _STRANGER, _STRANGER)
            do()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def pipe(path: Path, victims: Path) -> None:
    os.mkfifo(path, 0o666)


def socket_(path: Path, victims: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def link(path: Path, victims: Path) -> None:
    path.symlink_to(victims / "kept")


def link_to_nothing(path: Path, victims: Path) -> None:
    path.symlink_to(victims / "new")


def directory(path: Path, victims: Path) -> None:
    path.symlink_to(victims)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("fleet")
    open_up(where)
    ran = sudo(where, "fleet", "run", SAVED, "-o", where / "data", "--workers", "1")
    assert ran.returncode == 0, ran.stderr
    for path in (where / "data", *(where / "data").rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return where / "data"


@as_root
@pytest.mark.parametrize("command", _WORDS)
@pytest.mark.parametrize("place", [pipe, socket_, link, link_to_nothing, directory], ids=lambda f: f.__name__)
def test_nothing_is_written_where_another_user_has_put_something(
    home: Path, tmp_path: Path, fleet: Path, command: str, place: Callable[[Path, Path], None]
) -> None:
    victims, shared = home / "victims", tmp_path / "shared"
    victims.mkdir()
    (victims / "kept").write_text("mine")
    for path in (victims, victims / "kept"):
        os.chown(path, NOBODY, NOBODY)
    shared.mkdir()
    shared.chmod(0o1777)
    named = shared / "there"
    placed = shared / "there.json" if command == "audit" and place is not directory else named
    as_stranger(lambda: place(placed, victims))
    out = named / "below" if place is directory else named
    words = [word.replace("OUT", str(out)).replace("FLEET", str(fleet)) for word in _WORDS[command].split()]
    ran = sudo(home, *words)
    assert ran.returncode == 2, ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert [(path.name, path.read_text()) for path in victims.iterdir()] == [("kept", "mine")]
    assert placed.lstat().st_uid == _STRANGER
    assert list(shared.iterdir()) == [placed]
