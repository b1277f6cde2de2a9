"""Plugins: found by entry point and by file; a broken one costs only itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from explorer.analysis import run_audit
from explorer.capture.request import CaptureRequest, CaptureStats
from explorer.capture.snapshot import capture_snapshot
from explorer.plugin import list_plugins, load_plugins
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.conftest import FIXTURES, SAMPLE, Run

GOOD = """
from explorer.plugin import Facts, Plugin

class GoodFacts(Facts):
    release: str

def collect(kernel):
    return GoodFacts(release=kernel.prog["UTS_RELEASE"].string_().decode())

def audit(snapshot, facts):
    return iter(())

PLUGIN = Plugin(name="good", title="A good one", facts=GoodFacts, collect=collect, audit=audit)
"""
RAISES = GOOD.replace("return GoodFacts", "raise RuntimeError('boom') ; return GoodFacts").replace(
    '"good"', '"bad"'
)
HALVES = ("collect", "audit")
OURS = {point.name for point in entry_points(group="explorer.plugins")}
ABSENT = GOOD.replace("audit=audit", 'audit=audit, needs_modules=("no_such_module",)').replace(
    '"good"', '"absent"'
)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    sources = {"good": GOOD, "raises": RAISES, "absent": ABSENT, "broken": "def (", "empty": ""}
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    return [tmp_path / f"{name}.py" for name in sources]


def test_a_file_that_does_not_load_costs_only_itself(files: list[Path]) -> None:
    before = load_plugins()
    loaded = load_plugins(files)
    added = {plugin.name for plugin in loaded.plugins} - {plugin.name for plugin in before.plugins}
    assert added == {"good", "bad", "absent"}
    assert {broken.name for broken in loaded.errors} >= {"broken", "empty"}
    assert all("Traceback" in broken.traceback for broken in loaded.errors)


def test_a_plugin_that_raises_is_an_error_entry_and_the_others_give_their_facts(files: list[Path]) -> None:
    names = ("good", "bad", "absent")
    plugins = [plugin for plugin in load_plugins(files).plugins if plugin.name in names]
    stats = CaptureStats()
    with open_kernel(detect_target(str(FIXTURES["rfc-v1"]))) as kernel:
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins), stats=stats)
    assert snapshot.plugins["good"] == {"state": "loaded", "release": snapshot.kernel.release}
    assert snapshot.plugins["bad"] == {"state": "failed"}
    assert snapshot.plugins["absent"] == {"state": "not loaded"}
    assert [(error.where, error.why) for error in snapshot.errors] == [("plugin bad", "RuntimeError: boom")]
    assert any("boom" in trace for trace in stats.tracebacks)
    assert len(snapshot.tasks) == 81


def test_listing_imports_no_plugin(tmp_path: Path) -> None:
    source = GOOD + "\nraise SystemExit('imported')\n"
    (tmp_path / "trap.py").write_text(source)
    listing = next(found for found in list_plugins([tmp_path / "trap.py"]) if found.name == "good")
    assert listing.title == "A good one"
    code = (
        "import sys\nfrom explorer.plugin import list_plugins\nlist_plugins()\n"
        "print([m for m in sys.modules if m.startswith('explorer.plugins.')])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_command_reports_a_plugin_that_raises_and_shows_its_traceback_with_debug(
    run: Run, files: list[Path]
) -> None:
    quiet = run("snapshot", FIXTURES["rfc-v1"], "--plugin", files[1])
    loud = run("snapshot", FIXTURES["rfc-v1"], "--plugin", files[1], "--debug")
    assert quiet.returncode == loud.returncode == 4
    assert "boom" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


@pytest.mark.parametrize(
    "command", [("audit",), ("audit", "--only", "NX-WHEN-X"), ("snapshot",), ("tasks",)], ids=" ".join
)
def test_no_command_runs_a_plugin_before_the_kernel_is_open_and_rights_are_given_up(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    plugin = tmp_path / "when.py"
    log = tmp_path / "log"
    plugin.write_text(
        f'"""Says whether drgn was there."""\nimport sys\nopen({str(log)!r}, "a").write(str("drgn" in sys.modules))\n'
    )
    run(*command, SAMPLE, "--plugin", plugin)
    assert log.read_text().startswith("True")


def refused(
    directory: Path, sources: Mapping[str, bytes], limit_s: float = 30.0
) -> tuple[list[str], list[str | None]]:
    """Why each of some files is not loaded, and what the listing has for it. All others are loaded, and listed."""
    files = [directory / f"f{number}.py" for number in range(len(sources))]
    for path, source in zip(files, sources.values(), strict=True):
        path.write_bytes(source)
    loaded, listed = load_plugins(files, limit_s=limit_s), list_plugins(files)
    assert {plugin.name for plugin in loaded.plugins} == OURS
    assert len(listed) == len(OURS) + len(files)
    problems = {each.origin: each.problem for each in listed}
    assert [error.name for error in loaded.errors] == [path.stem for path in files]
    return [error.why for error in loaded.errors], [problems[str(path)] for path in files]


_ENDINGS = {
    "sys.exit(0)": "SystemExit: 0",
    "raise KeyboardInterrupt": "KeyboardInterrupt: ",
    "raise GeneratorExit": "GeneratorExit: ",
    "class Own(BaseException): pass\nraise Own('x')": "Own: x",
    "class Own(Exception):\n def __str__(self): raise self\nraise Own": "Own: its text cannot be had (Own)",
    "raise MemoryError": "MemoryError: ",
}


def test_whatever_a_plugin_file_raises_it_is_an_error_entry_and_all_others_are_loaded(tmp_path: Path) -> None:
    why, _ = refused(tmp_path, {each: f"import sys\n{each}\n".encode() for each in _ENDINGS})
    assert why == list(_ENDINGS.values())


def test_the_import_of_a_plugin_has_a_time_limit(tmp_path: Path) -> None:
    """The second stays behind in its thread, asleep."""
    loops = ("while True: pass", "while True:\n try: time.sleep(3600)\n except BaseException: pass")
    why, _ = refused(tmp_path, {each: f"import time\n{each}\n".encode() for each in loops}, limit_s=0.3)
    assert why == ["its import had not ended after 0.3 s"] * 2


_OTHER = {
    "os._exit(0)": "its import has ended the process: exit code 0",
    "os._exit(7)": "its import has ended the process: exit code 7",
    "os.kill(os.getpid(), signal.SIGKILL)": "its import has ended the process: signal SIGKILL",
    "os.kill(os.getpid(), signal.SIGTERM)": "its import has ended the process: signal SIGTERM",
    "os.execv('/bin/true', ['true'])": "its import has ended the process: exit code 0",
    "os.fork() or time.sleep(60)": "its import has started a process",
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()": "its import has left a thread running",
    "_thread.start_new_thread(lambda: (time.sleep(1), os._exit(0)), ())": "its import has left a thread running",
    "os.closerange(3, 64)\nos._exit(0)": "its import has ended the process: exit code 0",
    "faulthandler.disable()\nctypes.string_at(0)": "its import has ended the process: signal SIGSEGV",
}


def test_what_ends_the_process_or_leaves_something_in_it_is_an_error_entry_and_all_others_are_loaded(
    tmp_path: Path,
) -> None:
    modules = "import _thread, ctypes, faulthandler, os, signal, threading, time\n"
    why, _ = refused(tmp_path, {each: (modules + each).encode() for each in _OTHER}, limit_s=10.0)
    assert why == list(_OTHER.values())


def test_a_thread_that_ends_is_nothing_that_a_plugin_is_refused_for(tmp_path: Path) -> None:
    end = "import threading\nthreading.Thread(target=len, args=[()]).start()\n"
    (tmp_path / "good.py").write_text(end + GOOD)
    assert "good" in {plugin.name for plugin in load_plugins([tmp_path / "good.py"]).plugins}


def test_a_plugin_that_hangs_only_when_it_is_imported_again_is_not_waited_for(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    source = (
        f"from pathlib import Path\nmark = Path({str(mark)!r})\nwhile mark.exists(): pass\nmark.touch()\n"
    )
    why, _ = refused(tmp_path, {"hangs": source.encode()}, limit_s=0.5)
    assert why == ["its import had not ended after 0.5 s"]


def test_the_trial_of_plugins_leaves_no_process_and_prints_nothing(tmp_path: Path) -> None:
    says = "import os, sys\nprint('printed')\nos.write(1, b'written')\n"
    (tmp_path / "good.py").write_text(says + GOOD)
    (tmp_path / "forks.py").write_text("import os, time\nif not os.fork():\n time.sleep(60)\n")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom explorer.plugin import load_plugins\n"
        "loaded = load_plugins([Path('good.py'), Path('forks.py')])\n"
        "assert [each.name for each in loaded.errors] == ['forks'], loaded.errors\n"
        "try: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)\nexcept ChildProcessError: sys.exit(5)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        timeout=30,  # a process that is left holds its output open for 60 s
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (5, "")
    assert (ran.stdout.count("printed"), ran.stdout.count("written")) == (1, 1)


_MALFORMED = {
    b"-" * 200_000 + b"1": "nested too deeply",
    b"PLUGIN = Plugin(title=" + b"-" * 200_000 + b"1)": "nested too deeply",
    b"a" + b"()" * 100_000: "nested too deeply",
    b"(" * 100_000: "too many nested parentheses",
    b"PLUGIN = 1\0": "it is no Python",
    b"# coding: none-such\nPLUGIN = 1\n": "it is no Python",
    b"# coding: hex\nPLUGIN = 1\n": "it is no Python",
    b"#" * ((1 << 20) + 1): "more than 1 MiB",
    b"": "it has no PLUGIN",
    b"PLUGIN = Plugin(title={[]: {}}, name=[], needs_modules=1, needs_symbols={})": "no literal",
}


def test_a_malformed_source_costs_only_its_own_line_of_the_listing(tmp_path: Path) -> None:
    _, problems = refused(tmp_path, {str(at): source for at, source in enumerate(_MALFORMED)})
    pairs = zip(problems, _MALFORMED.values(), strict=True)
    assert [problem for problem, words in pairs if problem is None or words not in problem] == []


_FIELDS = {
    "name=5": "name is not of letters",
    'name="two words"': "name is not of letters",
    "title=None": "title is not a text",
    "facts=GoodFacts(release='')": "facts is not a class of Facts",
    "collect=None": "collect is not a function",
    "needs_modules='nfs'": "needs_modules is not a tuple of texts",
    "needs_symbols=(1,)": "needs_symbols is not a tuple of texts",
    "built_in=3": "built_in is not a text",
    "speaks_for=(1,)": "speaks_for is not a tuple of Speaks",
    "speaks_for=(Speaks(comm=7),)": "speaks_for is not a tuple of Speaks",
    "expected=[]": "expected is not a mapping",
    "expected={1: 2}": "expected is not a mapping",
    "borrows=(Borrows(1),)": "borrows is not a tuple of Borrows",
}


def test_a_plugin_with_a_field_of_another_kind_is_told_when_it_is_loaded_and_not_in_an_audit_of_others(
    tmp_path: Path,
) -> None:
    source = GOOD.replace("import Facts, Plugin", "import Borrows, Facts, Plugin, Speaks")
    ends = "\nimport dataclasses\nPLUGIN = dataclasses.replace(PLUGIN, {})\n"
    why, _ = refused(tmp_path, {field: (source + ends.format(field)).encode() for field in _FIELDS})
    assert [said for said, words in zip(why, _FIELDS.values(), strict=True) if words not in said] == []


@pytest.mark.parametrize("command", ["plugins", "tasks"])
def test_a_plugin_file_that_is_a_pipe_nobody_writes_to_is_an_error_and_never_waited_for(
    run: Run, tmp_path: Path, command: str
) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    target = [] if command == "plugins" else [SAMPLE]
    ran = run(command, *target, "--plugin", "pipe.py")
    assert ran.returncode == 4, ran
    assert "pipe.py is a pipe" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    assert "btrfs" in ran.stdout or command != "plugins"


@pytest.mark.parametrize("saved", [False, True], ids=["vmcore", "snapshot"])
@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import sys\nsys.exit(0)\n", "SystemExit: 0"),
        (f"import os\n{GOOD}\nos._exit(0)\n", "ended the process: exit code 0"),
        ("import os\nos.fork()\n", "started a process"),
    ],
    ids=["exit", "_exit", "fork"],
)
def test_an_audit_in_ci_does_not_pass_because_a_plugin_file_says_exit_0(
    run: Run, tmp_path: Path, source: str, why: str, saved: bool
) -> None:
    (tmp_path / "quiet.py").write_text(source)
    if saved:
        assert run("snapshot", SAMPLE, "-o", "saved.json").returncode == 0
    ran = run(
        "audit", "saved.json" if saved else SAMPLE, "--only", "NX-PID1-ABANDONED", "--plugin", "quiet.py"
    )
    assert ran.returncode == 4
    assert ran.stdout.startswith("ISOLATED") and ran.stdout.count("no findings") == 1
    assert ran.stderr.count(f"plugin quiet: load: {why}") + ran.stderr.count(f"its import has {why}") == 1


@pytest.mark.parametrize("command", ["plugins", "tasks", "snapshot"])
def test_no_command_ends_well_because_a_plugin_ends_its_process(
    run: Run, tmp_path: Path, command: str
) -> None:
    (tmp_path / "quiet.py").write_text(f"import os\n{GOOD}\nos._exit(0)\n")
    ran = run(command, SAMPLE, "--plugin", "quiet.py")
    assert ran.returncode == 4 and "plugin quiet: load: its import has ended the process" in ran.stderr
    assert "Traceback" not in ran.stderr and len(ran.stdout) > 1000


def test_a_half_that_says_exit_0_is_an_error_entry_of_its_own(tmp_path: Path) -> None:
    for half in HALVES:
        source = GOOD.replace(f"def {half}(", f"def {half}(*_):\n    raise SystemExit(0)\ndef _{half}(")
        (tmp_path / f"{half}.py").write_text(source.replace('"good"', f'"no-{half}"'))
    loaded = load_plugins([tmp_path / f"{half}.py" for half in HALVES])
    plugins = [plugin for plugin in loaded.plugins if plugin.name.startswith("no-")]
    with open_kernel(detect_target(str(FIXTURES["rfc-v1"]))) as kernel:
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins))
    assert [(error.where, error.why) for error in snapshot.errors] == [("plugin no-collect", "SystemExit: 0")]
    report = run_audit(snapshot, plugins)
    assert [(error.where, error.why) for error in report.errors] == [("plugin no-audit", "SystemExit: 0")]
