"""``ko`` and ``doctor``: a crash in C ends who reads, not the command; nobody reads with more rights than it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.unit.ko_builder import module_bytes
from tests.unit.targets.test_privilege_drop import NOBODY, SUDO, as_root, assert_without_rights, watched_at

_ROOT = Path(__file__).parents[3]
#: CAP_DAC_READ_SEARCH, CAP_SYS_RAWIO, CAP_SYSLOG: what the kernel shows to root alone.
_LOOKS = 1 << 2 | 1 << 17 | 1 << 34
#: Imported by Python as it starts: the first call of one function is a fault in C.
_CRASHES = """
import ctypes, sys

def watch(frame, event, argument):
    if event == "call" and frame.f_code.co_name == {!r}:
        ctypes.string_at(0)

sys.setprofile(watch)
"""


@pytest.mark.parametrize(
    ("words", "at", "doing"),
    [
        (("ko", "good.ko", "bad.ko"), "read_module_file", "while it read good.ko"),
        (("doctor",), "examine_tracing", "while it looked at this machine"),
    ],
    ids=["ko", "doctor"],
)
def test_a_crash_in_c_is_one_line_that_says_in_what_and_exit_code_3(
    run: Run, tmp_path: Path, words: tuple[str, ...], at: str, doing: str
) -> None:
    for name in ("good.ko", "bad.ko"):
        (tmp_path / name).write_bytes(module_bytes("printk"))
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(_CRASHES.format(at))
    ran = run(*words, env={"PYTHONPATH": f"{hooks}:{_ROOT}"})
    assert (ran.returncode, ran.stdout) == (3, ""), ran.stderr
    (line,) = ran.stderr.splitlines()
    assert f"the reader was ended by signal SIGSEGV, {doing}: there was nothing to keep" in line


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
def test_doctor_looks_as_root_with_the_rights_to_look_and_no_other(
    tmp_path: Path, caller: dict[str, str]
) -> None:
    done, threads = watched_at("examine", tmp_path, caller, "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert threads
    for thread in threads:
        assert thread["Uid"].split() == ["0"] * 4
        assert {int(thread[name], 16) & ~_LOOKS for name in ("CapEff", "CapPrm", "CapBnd", "CapInh")} == {0}
        assert (thread["NoNewPrivs"], thread["Seccomp"].strip()) == ("1", "2")


@as_root
def test_doctor_finds_what_it_found_with_all_rights(run: Run) -> None:
    code = "from explorer.cli import main\nmain(['doctor'])"
    free = subprocess.run(
        [sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert run("doctor").stdout == free.stdout


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
def test_who_waits_for_ko_and_who_reads_for_it_have_no_rights(tmp_path: Path, caller: dict[str, str]) -> None:
    module = tmp_path / "one.ko"
    module.write_bytes(module_bytes("printk"))
    done, threads = watched_at("read_module_file", tmp_path, caller, "ko", module)
    assert (done.returncode, done.stderr) == (0, "")
    assert_without_rights(threads, NOBODY if caller else 0)
    assert {thread["Seccomp"].strip() for thread in threads} == {"2"}
