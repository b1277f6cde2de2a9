"""What a process gives up once a live kernel is open, and whose plugins and directories it trusts."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from explorer.plugin import GROUP, load_plugins
from explorer.plugin import loading as plugin_module
from explorer.plugin.sources import plugin_points
from explorer.targets.privilege import _lets_root, runs_for_another_user
from explorer.targets.symbols import typecache
from explorer.tui.settings import Settings, load_settings, save_settings
from tests.conftest import SAMPLE, Run

_STATUS = "print(''.join(l for l in open('/proc/self/status') if l.startswith(('Cap', 'NoNew'))))"


def status_after(code: str) -> dict[str, str]:
    """/proc/self/status of a process that ran ``code``."""
    script = f"from explorer.targets.privilege import *; {code}; {_STATUS}"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return dict(line.split(":\t") for line in ran.stdout.splitlines() if line)


def test_nothing_is_left_of_roots_rights_and_nothing_can_bring_them_back() -> None:
    left = status_after("drop_privileges()")
    assert {int(left[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert left["NoNewPrivs"] == "1"
    if os.geteuid() == 0:
        assert int(left["CapBnd"], 16) == 0


_LOADED = """
import sys
from explorer.targets import privilege
give_up = privilege.keep_only
def told(needs, **rest):
    print("loaded", *{"drgn", "pydantic", "zstandard"} & set(sys.modules), file=sys.stderr, flush=True)
    give_up(needs, **rest)
privilege.keep_only = told
sys.argv[1:] = ["tasks", "sample"]
from explorer.cli import main
main()
"""


def test_the_task_table_gives_rights_up_before_what_parses_a_kernel_is_loaded() -> None:
    ran = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines() == ["loaded zstandard"]
    assert ran.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="root has rights to keep")
def test_a_command_that_writes_a_file_keeps_the_right_to_write_files_and_no_other() -> None:
    left = status_after("drop_privileges(keep_files=True)")
    assert int(left["CapEff"], 16) & ~0b110 == 0
    assert int(left["CapBnd"], 16) & ~0b110 == 0


def test_no_process_of_the_tool_leaves_a_core_file_with_a_kernels_memory() -> None:
    script = (
        "import os, resource, sys\n"
        "from explorer.cli.command import main\n"
        "try:\n    main(['schema'])\nexcept SystemExit:\n    pass\n"
        "print('CORE', resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "CORE (0, 0) 0o77"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"SUDO_UID": "1000"}, True),
        ({"NULLFS_EXPLORER_FOR_ANOTHER": "1"}, True),
        ({"SUDO_UID": "0"}, False),
        ({"PKEXEC_UID": "1000"}, True),
        ({"DOAS_USER": "alice"}, True),
    ],
)
def test_root_on_behalf_of_somebody_else_is_known_as_that(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert runs_for_another_user(environment) is expected


def test_a_user_without_roots_rights_runs_for_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert runs_for_another_user({"SUDO_UID": "1001"}) is False


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo makes root")
def test_a_plugin_file_is_not_run_under_sudo_unless_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    result = run("snapshot", SAMPLE, "--plugin", "mine.py", "-o", "a.json", env={"SUDO_UID": "1000"})
    assert result.returncode == 4
    assert "--allow-plugins-as-root" in result.stderr
    assert not (tmp_path / "ran").exists()
    arguments = ("--plugin", "mine.py", "--allow-plugins-as-root", "-o", "b.json")
    run("snapshot", SAMPLE, *arguments, env={"SUDO_UID": "1000"})
    assert (tmp_path / "ran").exists()


def test_entry_points_of_other_distributions_are_refused_and_ours_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, _ = plugin_points()
    stranger = EntryPoint("stranger", "stranger_plugin", GROUP)
    posing = EntryPoint("posing", "explorer.plugins.audit", GROUP)
    monkeypatch.setattr(plugin_module, "plugin_points", lambda: ([*ours, stranger, posing], []))
    loaded = load_plugins(strangers=False)
    assert {broken.name for broken in loaded.errors} == {"stranger", "posing"}
    assert {plugin.name for plugin in loaded.plugins} == {point.name for point in ours}


def test_no_cache_is_made_in_somebody_elses_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    if tmp_path.stat().st_uid == 0:
        os.chown(tmp_path, 12345, -1)
    note = typecache.store("ab" * 20, {"btf": b"x"})
    assert note is not None and "belongs to another user" in note
    assert not (tmp_path / "cache").exists()


def test_settings_that_others_can_write_are_not_used_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert save_settings(Settings(theme="textual-light")) is None
    assert load_settings() == (Settings(theme="textual-light"), None)
    (tmp_path / "nullfs-explorer").chmod(0o777)
    settings, note = load_settings()
    assert settings == Settings()
    assert note is not None and "writable by others" in note
    assert save_settings(Settings()) is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="root has rights to keep")
@pytest.mark.parametrize("owner", [(0, 0), (0, 65534), (65534, 0), (65534, 65534)])
def test_what_modes_let_root_do_without_a_capability_it_can_do(
    tmp_path: Path, owner: tuple[int, int]
) -> None:
    """A process without any is asked about every mode of a file, and of the directory that it is in."""
    directory, file, wanted = tmp_path / "on-the-way", tmp_path / "on-the-way" / "file", os.R_OK | os.W_OK
    directory.mkdir()
    file.touch()
    for parent in tmp_path.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o711)
    modes = [*((0o755, mode) for mode in range(0o1000)), *((mode, 0o666) for mode in range(0o1000))]
    code = "import os, sys\nfrom explorer.targets import privilege\nprivilege.drop_privileges()\n"
    code += f"for _ in sys.stdin: print(int(os.access({str(file)!r}, {wanted})), flush=True)\n"
    evident = 0
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as asked:
        assert asked.stdin is not None and asked.stdout is not None
        for path in (directory, file):
            os.chown(path, *owner)
        for of_directory, of_file in modes:
            directory.chmod(of_directory)
            file.chmod(of_file)
            asked.stdin.write("\n")
            can = asked.stdout.readline() == "1\n"
            assert can or not _lets_root(file, wanted), (oct(of_directory), oct(of_file))
            evident += _lets_root(file, wanted)
    assert evident > len(modes) // 16
