"""A reader that strangers' bytes have taken over starts no program, connects nowhere, writes nothing but its output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from explorer.confine import DENIED
from tests.conftest import SAMPLE, Run

ROOT = Path(__file__).parents[3]
_TRY = """
import ctypes, os, socket, sys
from pathlib import Path
from explorer.confine import confine
here = Path(sys.argv[1])
held = open(here / "held", "w")
confine([here / "out"])
def told(act):
    try:
        act()
        return "done"
    except OSError as error:
        return type(error).__name__
def unshare():
    if ctypes.CDLL(None).unshare(0):
        raise PermissionError
def write(name):
    return told(lambda: (here / name).write_text("x"))
print(told(lambda: os.execv("/bin/true", ["true"])), told(socket.socket), told(unshare))
print(write("out/a"), write("b"), told((here / "keep").unlink), write("keep"))
print((here / "keep").read_text(), held.write("still") and "held", told(lambda: open(os.devnull, "w").write("x")))
pid = os.fork()
if not pid:
    os._exit(told(lambda: os.execv("/bin/true", ["true"])) != "PermissionError")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.fixture
def has_landlock() -> bool:
    code = "import ctypes\nctypes.CDLL(None).prctl(38, 1, 0, 0, 0)\n"
    code += "import explorer.confine as c\nprint(c.deny_writes([]))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return ran.stdout == "True\n"


def test_a_confined_process_and_its_children_start_connect_and_write_nothing_else(
    tmp_path: Path, has_landlock: bool
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "keep").write_text("kept")
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "out")}
    command = [sys.executable, "-c", _TRY, str(tmp_path)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    calls, files, more, child = ran.stdout.splitlines()
    assert calls == "PermissionError PermissionError PermissionError", ran.stderr
    assert child == "0"
    if not has_landlock:
        pytest.skip("this kernel has no Landlock: that files cannot be written was not looked at")
    assert files == "done PermissionError PermissionError PermissionError"
    assert more == "kept held done"


def test_the_numbers_are_those_of_this_machines_kernel() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    lines = [line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR_")]
    known = {words[1].removeprefix("__NR_"): int(words[2]) for words in lines}
    assert {name: known.get(name, number) for name, number in DENIED.items()} == DENIED


_ESCAPE = """
import os, socket, subprocess
said = []
for act in (lambda: subprocess.run(['true']), socket.socket, lambda: os.execv('/bin/true', ['true'])):
    try:
        act()
        said.append('done')
    except OSError as error:
        said.append(type(error).__name__)
raise RuntimeError(' '.join(said))
"""


def test_a_plugin_that_a_reader_runs_can_neither_start_a_program_nor_connect(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "escape.py").write_text(_ESCAPE)
    ran = run("tasks", SAMPLE, "--plugin", "escape.py")
    assert "RuntimeError: PermissionError PermissionError PermissionError" in ran.stderr, ran.stderr


_POISON = """
import os
from pathlib import Path
try:
    Path(os.environ['XDG_CACHE_HOME'], 'nullfs-explorer', 'poison').write_text('x')
except PermissionError:
    raise RuntimeError('the cache is closed')
"""


def test_symbols_and_types_are_kept_for_the_next_time_and_no_plugin_can_put_others_there(
    run: Run, tmp_path: Path, has_landlock: bool
) -> None:
    (tmp_path / "poison.py").write_text(_POISON)
    environment = {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    (tmp_path / "tmp").mkdir()
    said = [run("tasks", SAMPLE, "--plugin", "poison.py", env=environment).stderr for _ in range(2)]
    (kept,) = (tmp_path / "cache" / "nullfs-explorer").iterdir() if has_landlock else (tmp_path / "tmp",)
    if not has_landlock:
        pytest.skip("this kernel has no Landlock: that files cannot be written was not looked at")
    assert kept.suffix == ".nxcache"
    assert all("RuntimeError: the cache is closed" in each for each in said), said


def test_a_confined_reader_still_writes_its_output_anew_and_over_another(run: Run, tmp_path: Path) -> None:
    """Where temporary files are elsewhere, so that only the output's own directory is left."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "out").mkdir()
    for _ in range(2):
        ran = run("snapshot", SAMPLE, "-o", "out/a.json.zst", env={"TMPDIR": str(tmp_path / "tmp")})
        assert (ran.returncode, ran.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json.zst"]
