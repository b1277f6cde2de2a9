"""Strangers' plugins, directories and links: not followed by root on behalf of somebody else, and it is said."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from explorer.cli.commands.open import reader_words
from explorer.cli.targets import TargetArguments
from explorer.output.files import OutputError, check_writable, open_growing, open_output
from explorer.places import find_place
from explorer.recording.writer import RecordingWriter, WriteError
from explorer.targets.symbols import typecache
from explorer.tui.settings import Settings, keep_snapshot, load_settings, save_settings, write_fault
from tests.conftest import SAMPLE, Run, capture_file

ROOT = Path(__file__).parents[1].parent.parent
STRANGER, NOBODY = 12345, 65534
as_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="needs root: under sudo, or to give a file to another user"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory on the path with an installed plugin in it that says that it was imported, and is none."""
    directory = tmp_path / "site"
    (directory / "evil-1.0.dist-info").mkdir(parents=True)
    (directory / "evil-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n"
    )
    (directory / "evil-1.0.dist-info" / "entry_points.txt").write_text(
        "[explorer.plugins]\nevil = evil_plugin\n"
    )
    (directory / "evil_plugin.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    return directory


def script(code: str, site: Path, **env: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([os.environ.get("PYTHONPATH") or str(ROOT), str(site)])
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=site,
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


_SNAPSHOT = "from tests.conftest import SAMPLE, capture_file\ns = capture_file(SAMPLE)\n"
_SUBSYSTEMS = "from explorer.tui.views.subsystems import find_subsystems\nfind_subsystems(s, None)"
_CALLERS = {
    "load_plugins": "from explorer.plugin import load_plugins\nload_plugins()",
    "the app's audit": f"{_SNAPSHOT}from explorer.tui.session.state import View\nView(s).audit",
    "the app's subsystems": f"{_SNAPSHOT}{_SUBSYSTEMS}",
}


@as_root
@pytest.mark.parametrize("name", _CALLERS)
def test_no_part_of_the_tool_imports_an_installed_stranger_under_sudo(
    tmp_path: Path, site: Path, name: str
) -> None:
    ran = script(_CALLERS[name], site, SUDO_UID="1000")
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "ran").exists()
    ran = script(_CALLERS[name], site)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "ran").exists()


def install(site: Path, name: str, entry: str, files: dict[str, str]) -> None:
    """A distribution with a list of its files."""
    about = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "entry_points.txt": entry}
    written = {**files, **{f"{name}-1.0.dist-info/{each}": text for each, text in about.items()}}
    for path, text in written.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    record = "".join(f"{path},,\n" for path in written)
    (site / f"{name}-1.0.dist-info" / "RECORD").write_text(record)


def test_a_command_that_shows_nothing_that_plugins_say_imports_none_that_is_installed(
    run: Run, tmp_path: Path, site: Path
) -> None:
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    assert run("tasks", SAMPLE, env=env).returncode == 0
    assert not (tmp_path / "ran").exists()
    assert "plugin evil" in run("snapshot", SAMPLE, env=env).stdout
    assert (tmp_path / "ran").exists()


def test_a_plugin_of_drgns_that_is_installed_is_loaded_only_where_it_is_named(
    run: Run, tmp_path: Path, site: Path
) -> None:
    (site / "evil-1.0.dist-info" / "entry_points.txt").write_text("[drgn.plugins]\nevil = evil_plugin\n")
    env = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    assert run("tasks", SAMPLE, env=env).returncode == 0
    assert not (tmp_path / "ran").exists()
    assert run("tasks", SAMPLE, env={**env, "DRGN_PLUGINS": "evil"}).returncode == 0
    assert (tmp_path / "ran").exists()


_LIST = (
    "import sys\nfrom explorer.plugin import PluginSet, explain_rules\nplugins = PluginSet()\n"
    "print([(each.title, each.problem) for each in plugins.listings if each.name == 'nested'])\n"
    "print('NX-NESTED-GONE' in {rule.id for rule in explain_rules(plugins)}, len(plugins.listings))\n"
    "print([name for name in sys.modules if name.startswith(('nested', 'explorer.plugins'))])"
)


@as_root
def test_listing_and_explaining_an_installed_plugin_imports_neither_it_nor_the_package_it_is_in(
    tmp_path: Path, site: Path
) -> None:
    ran_file = f"open({str(tmp_path / 'ran')!r}, 'w').close()\n"
    source = ran_file + (
        'PLUGIN = Plugin(name="nested", title="A nested one")\n'
        'def audit(snapshot, facts):\n    yield PLUGIN.finding("GONE", Severity.LOW, "gone", [], means="m", do="d")\n'
    )
    install(
        site,
        "nested",
        "[explorer.plugins]\nnested = nested.plug\n",
        {"nested/__init__.py": ran_file, "nested/plug.py": source},
    )
    ran = script(_LIST, site)
    listed, explained, imported = ran.stdout.splitlines()
    assert listed == "[('A nested one', None)]", ran.stderr
    assert explained.startswith("True") and imported == "[]"
    ran = script(_LIST, site, SUDO_UID="1000")
    listed, explained, imported = ran.stdout.splitlines()
    assert listed.startswith("[(None, 'not loaded as root for another user"), ran.stderr
    assert explained.startswith("False") and imported == "[]"
    assert not (tmp_path / "ran").exists()


def test_a_distribution_with_a_damaged_list_of_entry_points_costs_only_itself(site: Path) -> None:
    install(site, "damaged", "[explorer.plugins]\nno sign of equality\n", {})
    install(site, "odd", "[explorer.plugins]\nodd = : ../..[\n", {})
    code = (
        "from explorer.plugin import PluginSet\nplugins = PluginSet()\n"
        "print([each.name for each in plugins.listings if each.title is None])\n"
        "print(sorted(each.name for each in plugins.loaded.errors), len(plugins.plugins) > 10)"
    )
    ran = script(
        code, site, PYDANTIC_DISABLE_PLUGINS="__all__"
    )  # as the command has it: pydantic reads them, too
    assert ran.stdout.splitlines() == [
        "['damaged', 'evil', 'odd']",
        "['damaged', 'evil', 'odd'] True",
    ], ran.stderr


def test_a_plugin_of_pydantics_is_no_way_into_the_command(tmp_path: Path, site: Path) -> None:
    install(site, "hook", "[pydantic]\nhook = hook:plugin\n", {})
    (site / "hook.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nplugin = None\n")
    ran = script("import sys\nsys.argv[1:] = ['plugins']\nfrom explorer.cli import main\nmain()", site)
    assert "btrfs" in ran.stdout, ran.stderr
    assert not (tmp_path / "ran").exists()


@as_root
def test_a_stranger_stays_a_stranger_when_the_rights_of_root_are_gone(tmp_path: Path, site: Path) -> None:
    code = (
        "import os\nfrom explorer.targets.privilege import harden_process\nfrom explorer.plugin import load_plugins\n"
        "import importlib.metadata\nharden_process()\nos.setresuid(1000, 1000, 1000)\n"
        "print([broken.why for broken in load_plugins().errors])"
    )
    ran = script(code, site, SUDO_UID="1000")
    assert not (tmp_path / "ran").exists(), ran.stderr


def test_the_app_passes_the_permission_for_strangers_on_to_its_reader() -> None:
    values = dict.fromkeys(TargetArguments._fields)
    values |= {"symbols": (), "plugins": (), "cache": True, "allow_plugins_as_root": True}
    assert reader_words(TargetArguments(**values)) == ["--allow-plugins-as-root"]  # type: ignore[arg-type]


@pytest.mark.parametrize("command", ["slice", "redact", "record"])
def test_a_plugin_that_does_not_load_is_not_passed_over_in_silence(
    run: Run, tmp_path: Path, site: Path, command: str
) -> None:
    if command == "record":
        code = (
            "from explorer.cli.commands.record import RecordArguments\n"
            "fields = dict.fromkeys(RecordArguments.__dataclass_fields__)\n"
            "RecordArguments(**{**fields, 'all_plugins': True}).plugins()\n"
        )
        ran = script(code, site)
        assert "plugin evil: load: " in ran.stderr, ran
        return
    target: Path = SAMPLE
    if command == "redact":
        assert run("snapshot", SAMPLE, "-o", "saved.json").returncode == 0
        target = tmp_path / "saved.json"
    words = ("slice",) if command == "slice" else ("snapshot", "--redact")
    (tmp_path / "broken.py").write_text("raise KeyError('at once')")
    ran = run(*words, target, "--plugin", "broken.py", "-o", "out.json")
    assert ran.returncode == 4
    assert [line for line in ran.stderr.splitlines() if "plugin broken: load: KeyError" in line]


@pytest.fixture
def strangers_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """HOME belongs to another user than this process's, which may write there all the same."""
    home = tmp_path / "home"
    home.mkdir()
    if os.geteuid() == 0:
        os.chown(home, STRANGER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


def test_nothing_is_kept_in_the_home_of_another_user(strangers_home: Path) -> None:
    for note in (save_settings(Settings()), load_settings()[1], typecache.store("ab" * 20, {"btf": b"x"})):
        assert note is not None and "belongs to another user" in note
    assert list(strangers_home.iterdir()) == []


@as_root
@pytest.mark.parametrize("own", [True, False], ids=["own-directory", "its-content"])
def test_nothing_is_kept_behind_a_link_of_another_user_though_it_leads_to_a_directory_of_our_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    home, roots = tmp_path / "home", tmp_path / "roots"
    home.mkdir()
    roots.mkdir()
    for name in (".cache", ".config"):
        if own:
            (home / name).mkdir()
        link = home / name / "nullfs-explorer" if own else home / name
        link.symlink_to(roots)
        os.chown(link, STRANGER, -1, follow_symlinks=False)
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    for note in (save_settings(Settings()), typecache.store("ab" * 20, {"btf": b"x"})):
        assert note is not None
    assert list(roots.iterdir()) == []


def test_settings_and_cache_behind_a_link_of_ones_own_are_still_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    for name in (".cache", ".config"):
        (home / name).symlink_to("../elsewhere")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    assert save_settings(Settings(theme="textual-light")) is None
    assert load_settings() == (Settings(theme="textual-light"), None)
    assert typecache.store("ab" * 20, {"btf": b"x"}) is None
    assert bytes((typecache.load("ab" * 20)[0] or {})["btf"]) == b"x"


@as_root
def test_an_output_is_not_written_through_a_link_that_another_user_has_put_there(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("mine")
    link, own = tmp_path / "out.json", tmp_path / "own.json"
    link.symlink_to("victim")
    own.symlink_to("out.json")
    os.chown(link, STRANGER, -1, follow_symlinks=False)
    for path in (link, own):
        ran = run("snapshot", SAMPLE, "-o", path)
        assert ran.returncode == 2
        assert len(ran.stderr.splitlines()) == 1 and "symbolic link of another user" in ran.stderr
        with pytest.raises(OutputError, match="another user"):
            check_writable(path)
        with pytest.raises(WriteError, match="another user"):
            RecordingWriter(path, mode="live", target="live", step_s=1.0, started_at="")
    assert (tmp_path / "victim").read_text() == "mine"


def test_an_output_through_a_link_of_ones_own_replaces_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to(tmp_path / "c")
    with open_output(tmp_path / "a") as out:
        out.write(b"x")
    assert (tmp_path / "c").read_bytes() == b"x"
    assert (tmp_path / "a").is_symlink()


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """As another user than root, who is then the stranger."""
    os.setresgid(-1, NOBODY, 0)
    os.setresuid(-1, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(-1, 0, 0)
        os.setresgid(-1, 0, 0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that all may write to, as /tmp is; but for the sticky bit, which the kernel's own rules are about."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


def refusal(path: Path) -> str:
    """What each of those that write says of a path; all say the same."""
    said = []
    for write in (
        lambda: check_writable(path),
        lambda: open_output(path).__enter__(),
        lambda: open_growing(path).__enter__(),
        lambda: RecordingWriter(path, mode="live", target="live", step_s=1.0, started_at=""),
    ):
        with pytest.raises((OutputError, WriteError)) as raised:
            write()
        said.append(str(raised.value))
    assert len({each.removesuffix(": write somewhere else") for each in said}) == 1, said
    return said[0]


@as_root
def test_an_output_goes_neither_into_a_pipe_nor_a_socket_that_another_user_has_put_there(
    shared: Path,
) -> None:
    with nobody():
        os.mkfifo(shared / "out.json", 0o666)
        (shared / "out.json").chmod(0o666)
        reader = os.open(shared / "out.json", os.O_RDONLY | os.O_NONBLOCK)
        (shared / "link.json").symlink_to("out.json")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(shared / "socket.json"))
    with listener:
        assert "a pipe of another user" in refusal(shared / "out.json")
        assert "a symbolic link of another user" in refusal(shared / "link.json")
        assert "a socket of another user" in refusal(shared / "socket.json")
    assert os.read(reader, 1) == b""
    os.close(reader)


@as_root
@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_an_output_goes_through_no_directory_that_is_a_link_of_another_user(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool
) -> None:
    (shared / "victim").mkdir()
    (shared / "own").symlink_to("theirs")
    with nobody():
        (shared / "theirs").symlink_to(shared / "victim")
    monkeypatch.chdir(shared)
    for way in ("theirs", "own", "victim/../theirs", "own/../own"):
        path = (shared if absolute else Path()) / way / "out.json"
        assert "a symbolic link of another user" in refusal(path)
    assert list((shared / "victim").iterdir()) == []


@as_root
def test_settings_faults_and_a_partial_snapshot_go_through_no_link_of_another_user_either(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shared / "victim").mkdir(mode=0o700)
    with nobody():
        (shared / "theirs").symlink_to("victim")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shared / "theirs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared / "theirs"))
    told = [save_settings(Settings()), write_fault("x"), keep_snapshot(capture_file(SAMPLE), datetime.now())]
    told.append(typecache.store("ab" * 20, {"btf": b"x"}))
    assert [note for note in told if note is None or "another user" not in note] == []
    assert list((shared / "victim").iterdir()) == []


def test_a_pipe_of_ones_own_is_written_to_and_not_waited_for_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with find_place(tmp_path / "pipe") as place, pytest.raises(OSError, match="nobody has read from"):
        place.open_special(wait_s=0.1)
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open_output(tmp_path / "pipe") as out:
        out.write(b"x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)


def test_an_output_leaves_nothing_if_it_is_killed_and_has_no_name_before_it_is_whole(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom explorer.output.files import open_output\n"
        "with open_output(Path(sys.argv[1])) as out:\n    out.write(b'x' * 100_000)\n    out.flush()\n"
        "    print(os.listdir(Path(sys.argv[1]).parent))\n    sys.stdout.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    for name in ("new", "there"):
        (tmp_path / "there").write_bytes(b"old")
        ran = subprocess.run(
            [sys.executable, "-c", code, tmp_path / name],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        assert ran.returncode == -signal.SIGKILL and ran.stdout == "['there']\n", ran
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert (tmp_path / "there").read_bytes() == b"old"


def test_a_filesystem_that_has_no_files_without_a_name_leaves_nothing_of_what_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault: what O_TMPFILE says there."""
    real = os.open

    def refuse(path: str, flags: int, *rest: int, **more: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with open_output(tmp_path / "a") as out:
        out.write(b"x")
    with pytest.raises(RuntimeError), open_output(tmp_path / "b") as out:
        assert len(list(tmp_path.glob(".b.*.part"))) == 1
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_settings_that_are_a_pipe_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "nullfs-explorer").mkdir(mode=0o700)
    os.mkfifo(tmp_path / "nullfs-explorer" / "settings.json")
    settings, problem = load_settings()
    assert settings == Settings() and problem is not None and "a pipe" in problem


def test_an_output_to_a_stream_of_ones_own_is_written_where_that_stands(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    with (tmp_path / "log").open("ab") as log:
        code = "import sys\nfrom pathlib import Path\nfrom explorer.output.files import open_output\n"
        code += "with open_output(Path('/dev/stdout')) as out:\n    out.write(b'after\\n')\n"
        subprocess.run([sys.executable, "-c", code], stdout=log, check=True, cwd=ROOT)
    assert (tmp_path / "log").read_text() == "before\nafter\n"
