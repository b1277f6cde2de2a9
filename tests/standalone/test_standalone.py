"""The one file: the same bytes whoever builds it, what it needs, and that it does what the command does.

``make standalone-check`` runs this; ``make test`` has no minutes for it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.cli.command import _COMMANDS
from tests.conftest import Run
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.packages import OLD_SUITES, Apt
from tests.python_tree import ROOT, project_table
from tests.standalone.measure import find_needs, unpack_file

pytestmark = [pytest.mark.repetition, pytest.mark.timeout(900)]

_BUILT_FROM = ("explorer", "plugins", "tests", "pyproject.toml")
_VARIES = re.compile(r"read in \d+\.\d+ s")
_OLD_GLIBC = "2.31"
_OLD_PACKAGES = (
    "libc6",
    "bash",
    "libtinfo6",
    "coreutils",
    "libselinux1",
    "libpcre2-8-0",
    "libacl1",
    "libattr1",
)
#: There is no home for a cache.
_SAMPLE = ("tasks", "sample", "--width", "100", "--no-cache")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root")


def timeless(text: str) -> str:
    return _VARIES.sub("read in 0 s", text)


def said_by(file: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([file, *words], env=environment, capture_output=True, text=True, check=False)


def test_built_again_elsewhere_it_is_the_same_bytes(standalone: Path, tmp_path: Path) -> None:
    """From a copy of the sources, with other times, umask, time zone, seed and language."""
    for name in _BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(
                source, tmp_path / "copy" / name, symlinks=True, ignore=ignored, copy_function=shutil.copyfile
            )
        else:
            shutil.copyfile(source, tmp_path / "copy" / name)
    again = tmp_path / "again"
    built = (
        "import os, pathlib, sys, tests.standalone.build as build; os.umask(0o077); "
        "build.build_standalone(pathlib.Path(sys.argv[1]))"
    )
    others = {"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "77", "TMPDIR": str(tmp_path)}
    environment = {**os.environ, **others, "PYTHONPATH": str(tmp_path / "copy")}
    command = [sys.executable, "-c", built, str(again)]
    subprocess.run(command, cwd=tmp_path / "copy", env=environment, check=True)
    assert again.read_bytes() == standalone.read_bytes()


def test_it_needs_nothing_of_the_machine_but_the_kernel(standalone: Path, tmp_path: Path) -> None:
    unpack_file(standalone, tmp_path)
    needs = find_needs(standalone, tmp_path)
    assert needs.is_satisfied, needs
    (tmp_path / "lib" / "libz.so.1").unlink()
    assert find_needs(standalone, tmp_path).outside == ("libz.so.1",), "what is missing is seen"


@pytest.mark.parametrize(
    "words",
    ["tasks sample --all --width 120", "audit sample", "plugins sample", "explain NX-BORROWER", "schema"],
)
def test_it_prints_what_the_command_prints(words: str, standalone: Path, run: Run) -> None:
    ran, expected = said_by(standalone, *words.split()), run(*words.split())
    assert timeless(ran.stdout) == timeless(expected.stdout)
    assert (ran.stderr, ran.returncode) == (expected.stderr, expected.returncode)


def test_every_command_of_it_can_be_loaded(standalone: Path) -> None:
    for command in _COMMANDS:
        ran = said_by(standalone, command, "--help")
        assert (ran.returncode, ran.stderr) == (0, ""), command
        assert "Usage: nullfs-explorer" in ran.stdout


def test_no_plugin_is_missing(standalone: Path) -> None:
    listed = said_by(standalone, "plugins").stdout
    assert set(project_table()["entry-points"]["explorer.plugins"]) <= set(
        re.findall(r"^(\S+) ", listed, re.MULTILINE)
    )
    assert "unreadable" not in listed


def test_what_lies_around_is_not_loaded(standalone: Path, tmp_path: Path) -> None:
    """Python looks for its own upwards from where it is: what a stranger put above that into /tmp is not met."""
    place = tmp_path / "place"
    inside = place / "lib" / f"python3.{sys.version_info[1]}"
    inside.mkdir(parents=True)
    place.chmod(0o1777)
    trap = "import os; os.write(2, b'caught'); os._exit(77)"
    for name in ("os.py", "site.py", "encodings/__init__.py", "sitecustomize.py"):
        (inside / name).parent.mkdir(exist_ok=True)
        (inside / name).write_text(trap)
    shutil.make_archive(str(place / "lib" / f"python3{sys.version_info[1]}"), "zip", inside)
    (place / "pyvenv.cfg").write_text("home = /nowhere\n")
    (place / "pybuilddir.txt").write_text(str(inside))
    own = {
        "TMPDIR": str(place),
        "PYTHONPATH": str(inside),
        "PYTHONHOME": str(place),
        "PYTHONSTARTUP": str(inside / "os.py"),
    }
    ran = said_by(standalone, "--version", **own)
    assert (ran.stdout, ran.stderr, ran.returncode) == ("nullfs-explorer, version 0.1.0\n", "", 0)


def in_root(root: Path, standalone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The file, and ``/proc``, in another root directory."""
    for name in ("tmp", "proc"):
        (root / name).mkdir(exist_ok=True)
    shutil.copy2(standalone, root / "nullfs-explorer")
    script = 'mount -t proc proc "$0/proc" && exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$0" "$@"'
    command = ["unshare", "-m", "sh", "-c", script, str(root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_root
def test_it_runs_where_there_is_no_other_file(standalone: Path, tmp_path: Path, run: Run) -> None:
    ran = in_root(tmp_path, standalone, "/nullfs-explorer", *_SAMPLE)
    expected = run(*_SAMPLE)
    assert (ran.returncode, ran.stderr) == (0, expected.stderr)
    assert timeless(ran.stdout) == timeless(expected.stdout)
    assert {path.name for path in (tmp_path / "tmp").iterdir()} == set()


@needs_root
def test_it_runs_on_the_oldest_debian_that_can_be_had(standalone: Path, tmp_path: Path, run: Run) -> None:
    """With the libraries of Debian 11 around it, none of which it may take up; from that system's own shell."""
    try:
        apt = Apt(suites=OLD_SUITES)
        apt.update()
        found = [apt.download(apt.find_package(name, OLD_SUITES[0])) for name in _OLD_PACKAGES]
    except LabError as error:
        pytest.skip(f"{OLD_SUITES[0]} cannot be had: {error}")
    root = tmp_path / "root"
    root.mkdir()
    for package in found:
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    shell = "ls / >&2 && /nullfs-explorer " + " ".join(_SAMPLE)
    ran = in_root(root, standalone, "/bin/bash", "-c", shell)
    assert ran.returncode == 0, ran.stderr
    assert timeless(ran.stdout) == timeless(run(*_SAMPLE).stdout)
    said = in_root(root, standalone, "/lib/x86_64-linux-gnu/libc.so.6")
    assert f"release version {_OLD_GLIBC}" in said.stdout, "it is as old as is said"
