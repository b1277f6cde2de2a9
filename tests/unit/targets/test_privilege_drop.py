"""What is left of root's rights while foreign bytes are parsed: in every thread, for every target, and under sudo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import SAMPLE, Run
from tests.crashing import crashing_plugin
from tests.unit.ko_builder import module_bytes

ROOT = Path(__file__).parents[1].parent.parent
NOBODY = 65534
SUDO = {"SUDO_UID": str(NOBODY), "SUDO_GID": str(NOBODY)}
_PATHS = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")

#: A plugin that ends its loading with what the process may do by then, thread by thread.
STATE = """
import json, os
found = []
for task in os.listdir("/proc/self/task"):
    text = open(f"/proc/self/task/{task}/status", errors="replace").read()
    found.append(dict(line.split(":\\t", 1) for line in text.splitlines() if ":\\t" in line))
with open(os.environ["STATE"], "w") as file:
    json.dump(found, file)
raise RuntimeError("it has said all")
"""


#: Imported by Python as it starts: the same when a target begins to be opened.
WATCHES_OPENING = """
import sys

def watch(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "open_program":
        sys.setprofile(None)
        try:
            exec(STATE)
        except RuntimeError:
            pass

STATE = %r
sys.setprofile(watch)
"""


@cache
def python_for_all() -> str:
    """A Python that ordinary users can run too, with what the tool needs."""
    for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        try:
            ran = subprocess.run(
                [path, "-c", "import explorer, click, drgn, pydantic, zstandard"],
                env={"PYTHONPATH": _PATHS},
                user=NOBODY,
                group=NOBODY,
                extra_groups=[],
                cwd="/",
                capture_output=True,
                check=False,
            )
        except OSError:  # it is not there, or in root's home
            continue
        if ran.returncode == 0:
            return path
    pytest.skip("no Python here that an ordinary user can run with the tool's packages")


def sudo(directory: Path, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The command as root, on behalf of nobody."""
    return subprocess.run(
        [python_for_all(), "-P", "-m", "explorer", *map(str, words)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": _PATHS, **SUDO, **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def open_up(path: Path) -> None:
    """Let everybody enter a directory of pytest's: with workers, it is one deeper."""
    for part in (path, *path.parents):
        mode = part.stat().st_mode
        if not mode & 0o001 and part.stat().st_uid == os.geteuid():
            part.chmod(mode | 0o011)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory of nobody's, whose parents all can be entered."""
    open_up(tmp_path)
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    os.chown(made, NOBODY, NOBODY)
    return made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state.py").write_text(STATE)
    return tmp_path / "state.py"


def capabilities(said: Path) -> set[int]:
    """All that any thread had, or could get from a program."""
    threads = json.loads(said.read_text())
    assert {thread["NoNewPrivs"] for thread in threads} == {"1"}
    return {int(thread[name], 16) for thread in threads for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}


def script(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@as_root
@pytest.mark.parametrize("command", ["snapshot", "slice", "audit", "saved"])
def test_a_dump_or_a_saved_snapshot_is_not_parsed_with_roots_capabilities(
    run: Run, tmp_path: Path, state: Path, command: str
) -> None:
    target, words = SAMPLE, [command]
    if command == "saved":
        assert run("snapshot", SAMPLE, "-o", "saved.json").returncode == 0
        target, words = tmp_path / "saved.json", ["audit"]
    output = ("-o", "out.elf") if command == "slice" else ()
    run(*words, target, "--plugin", state, *output, env={"STATE": str(tmp_path / "said")})
    assert capabilities(tmp_path / "said") == {0}


@as_root
@pytest.mark.kernel
def test_no_thread_of_drgn_keeps_capabilities_after_dwarf_was_loaded(
    run: Run, tmp_path: Path, state: Path
) -> None:
    from tests.kernels.lab.kernels import get_kernel

    vmlinux = get_kernel("7.3", debug=True).vmlinux
    assert vmlinux is not None
    words = ("-s", vmlinux, "--force", "--plugin", state)
    ran = run("snapshot", SAMPLE, *words, "-o", "a.json", env={"STATE": str(tmp_path / "said")})
    assert (tmp_path / "said").exists(), ran.stderr
    assert capabilities(tmp_path / "said") == {0}


@as_root
def test_a_thread_that_keeps_capabilities_is_an_error_and_not_passed_over() -> None:
    code = (
        "import threading, time\n"
        "from explorer.targets import privilege\n"
        "threading.Thread(target=time.sleep, args=(20,), daemon=True).start()\n"
        "try:\n    privilege.drop_privileges()\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    ran = script(code)
    assert ran.stdout.startswith("TargetError 1 of this process's threads still have root's rights"), ran


@as_root
def test_a_guests_reader_keeps_the_right_to_read_qemu_and_no_other() -> None:
    code = (
        "from explorer.targets.privilege import Needs, give_up_rights\n"
        "give_up_rights(Needs(guest=True))\n"
        "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('CapPrm')][0])"
    )
    assert int(script(code).stdout, 16) == 1 << 19


@as_root
def test_under_sudo_what_is_parsed_is_parsed_as_the_caller_who_then_owns_the_output(
    home: Path, tmp_path: Path, state: Path
) -> None:
    said = home / "said"
    words = ("--plugin", state, "--allow-plugins-as-root", "-o", home / "out.json")
    ran = sudo(tmp_path, "snapshot", SAMPLE, *words, STATE=str(said))
    assert ran.returncode == 4, ran.stderr
    assert "it has said all" in ran.stderr
    assert capabilities(said) == {0}
    threads = json.loads(said.read_text())
    assert {(thread["Uid"], thread["Gid"]) for thread in threads} == {("\t".join([str(NOBODY)] * 4),) * 2}
    status = (home / "out.json").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (NOBODY, NOBODY, 0o600)


@as_root
def test_under_sudo_a_dump_that_only_root_may_read_is_still_read(home: Path, tmp_path: Path) -> None:
    dump = tmp_path / "root.elf.zst"
    dump.write_bytes(SAMPLE.read_bytes())
    dump.chmod(0o600)
    ran = sudo(home, "slice", dump, "--redact", "-o", "mini.elf")
    assert ran.returncode == 0, ran.stderr
    assert (home / "mini.elf").stat().st_uid == NOBODY


@as_root
def test_under_sudo_a_file_that_was_open_stays_readable_and_a_closed_one_of_roots_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("open")
    (tmp_path / "secret").chmod(0o600)
    code = (
        "from explorer.targets.privilege import Needs, give_up_rights, _drop\n"
        "from explorer.caller import find_caller\n"
        f"file = open({str(tmp_path / 'secret')!r})\n"
        "_drop(0, find_caller())\n"
        "print(file.read())\n"
        f"try:\n    open({str(tmp_path / 'secret')!r})\nexcept PermissionError:\n    print('closed')\n"
        "try:\n    open('/etc/passwd', 'r+')\nexcept PermissionError:\n    print('not to be written')\n"
        "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    assert script(code, **SUDO).stdout.splitlines() == ["open", "closed", "not to be written", "0"]


@as_root
def test_under_sudo_an_output_where_only_root_may_write_is_written_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "roots").mkdir(mode=0o755)
    ran = sudo(tmp_path, "snapshot", SAMPLE, "-o", "roots/out.json")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "roots" / "out.json").stat().st_uid == 0


@as_root
def test_a_reader_that_crashes_as_the_caller_leaves_what_it_had_read(home: Path, tmp_path: Path) -> None:
    words = ("--plugin", crashing_plugin(tmp_path), "--allow-plugins-as-root", "-o", home / "part.json")
    ran = sudo(tmp_path, "snapshot", SAMPLE, *words)
    assert ran.returncode == 4, ran.stderr
    assert "ended by signal SIGSEGV" in ran.stderr
    assert (home / "part.json").stat().st_uid == NOBODY
    again = sudo(tmp_path, "diff", SAMPLE, SAMPLE, *words[:3])
    assert again.stderr.count("ended by signal SIGSEGV") == 2, again.stderr


@as_root
def test_under_sudo_a_plugin_is_refused_even_after_the_process_became_the_caller(
    home: Path, tmp_path: Path, state: Path
) -> None:
    ran = sudo(
        tmp_path, "snapshot", SAMPLE, "--plugin", state, "-o", home / "a.json", STATE=str(home / "said")
    )
    assert ran.returncode == 4
    assert "--allow-plugins-as-root" in ran.stderr
    assert not (home / "said").exists()


def test_a_piped_core_handler_gets_nothing_of_a_process_of_the_tool_and_its_own_files_stay_open() -> None:
    code = (
        "import ctypes, os\n"
        "from explorer.cli.command import main\n"
        "try:\n    main(['schema'])\nexcept SystemExit:\n    pass\n"
        "r, w = os.pipe()\n"
        "os.close(os.open(f'/proc/self/fd/{r}', os.O_WRONLY))\n"
        "print(len(os.listdir('/proc/self/task')), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    ran = script(code)
    assert ran.stdout.splitlines()[-1] == "1 0", ran.stderr


@as_root
def test_an_ordinary_users_reader_that_crashes_leaves_what_it_had_read(home: Path, tmp_path: Path) -> None:
    plugin = crashing_plugin(tmp_path)
    ran = subprocess.run(
        [python_for_all(), "-P", "-m", "explorer", "diff", str(SAMPLE), str(SAMPLE), "--plugin", str(plugin)],
        cwd=home,
        env={**os.environ, "PYTHONPATH": _PATHS, "HOME": str(home)},
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.stderr.count("ended by signal SIGSEGV") == 2, ran.stderr


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
def test_a_dump_that_only_root_may_read_is_parsed_by_a_process_that_has_no_rights_any_more(
    tmp_path: Path, caller: dict[str, str]
) -> None:
    """Headers, VMCOREINFO, symbols and types of a stranger's dump: all of it comes after rights were given up."""
    dump = tmp_path / "dump"
    dump.write_bytes(SAMPLE.read_bytes())
    dump.chmod(0o600)
    done, threads = watched_at("open_program", tmp_path, caller, "tasks", dump)
    assert (done.returncode, done.stderr) == (0, "")
    assert_without_rights(threads, NOBODY if caller else 0)


@as_root
def test_debug_info_that_is_not_there_keeps_no_right_alive(tmp_path: Path) -> None:
    done, threads = watched_at("open_program", tmp_path, SUDO, "tasks", "sample", "-s", tmp_path / "none")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
    assert_without_rights(threads, NOBODY)


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
@pytest.mark.parametrize("other", ["sample", "saved"])
def test_the_first_side_of_a_diff_is_parsed_by_a_process_that_has_no_rights_any_more(
    run: Run, tmp_path: Path, caller: dict[str, str], other: str
) -> None:
    """Both are open by then: neither is read with the rights that the other took to be opened."""
    dump = tmp_path / "dump"
    dump.write_bytes(SAMPLE.read_bytes())
    dump.chmod(0o600)
    if other == "saved":
        assert run("snapshot", SAMPLE, "-o", "saved.json").returncode == 0
        (tmp_path / "saved.json").chmod(0o644)
        other = str(tmp_path / "saved.json")
    done, threads = watched_at("open_program", tmp_path, caller, "diff", dump, other)
    assert (done.returncode, done.stderr) == (0, "")
    assert_without_rights(threads, NOBODY if caller else 0)


@as_root
@pytest.mark.parametrize("caller", [{}, SUDO], ids=["root", "sudo"])
def test_a_module_is_parsed_by_a_process_that_has_no_rights_any_more(
    tmp_path: Path, caller: dict[str, str]
) -> None:
    module = tmp_path / "bad.ko"
    module.write_bytes(module_bytes("filp_open", "kthread_create_on_node"))
    done, threads = watched_at("read_module_file", tmp_path, caller, "ko", module, tmp_path / "none.ko")
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
    assert_without_rights(threads, NOBODY if caller else 0)
    module.chmod(0o600)
    done, threads = watched_at("read_module_file", tmp_path, caller, "ko", module)
    assert (done.returncode, done.stderr) == (1, "")
    assert_without_rights(threads, 0)


def watched_at(
    name: str, directory: Path, caller: dict[str, str], *words: str | Path
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, str]]]:
    """Run the command as root. :returns: what its threads may do when it first calls a function of this name"""
    open_up(directory)
    state, hooks = directory / "state", directory / "hooks"
    state.write_text("[]")
    state.chmod(0o666)
    hooks.mkdir(exist_ok=True)
    (hooks / "sitecustomize.py").write_text(WATCHES_OPENING.replace("open_program", name) % STATE)
    done = subprocess.run(
        [python_for_all(), "-P", "-m", "explorer", *map(str, words)],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": f"{hooks}:{_PATHS}", **caller, "STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, json.loads(state.read_text())


def assert_without_rights(threads: list[dict[str, str]], uid: int) -> None:
    assert threads
    for thread in threads:
        assert thread["Uid"].split()[1] == str(uid)
        assert (int(thread["CapEff"], 16), int(thread["CapPrm"], 16), thread["NoNewPrivs"]) == (0, 0, "1")
