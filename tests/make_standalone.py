"""Builds one executable, with Python, drgn, Textual, sample and plugins: ``python -m tests.make_standalone DIRECTORY``.

PyInstaller makes it of this machine's own interpreter and libraries, but the C library: it runs where that is not older
than what :func:`oldest_glibc` finds. It unpacks its libraries to a directory of its own below ``$TMPDIR``, mode 0700,
and removes that at its end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.make_dist import commit_time

__all__ = ("build_standalone", "oldest_glibc")

_NAME = "nullfs-explorer"
#: What imports by name: each package whole.
_COLLECTED = ("explorer", "drgn", "_drgn_util", "textual", "lark")
#: What a data extra or a test brings along, and no command uses.
_EXCLUDED = (
    "pandas",
    "pyarrow",
    "numpy",
    "pytest",
    "mypy",
    "hypothesis",
    "tkinter",
    "IPython",
    "jinja2",
    "dask",
)
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)")


def build_standalone(directory: Path) -> Path:
    """The executable, in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": commit_time(),
        "PYTHONHASHSEED": "0",
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",
    }
    with tempfile.TemporaryDirectory() as work:
        entry = Path(work) / f"{_NAME}.py"
        entry.write_text("from explorer.cli import main\n\nmain()\n")
        command = [
            sys.executable,
            "-m",
            "PyInstaller",
            "--onefile",
            "--noconfirm",
            "--clean",
            "--log-level",
            "ERROR",
        ]
        command += ["--name", _NAME, "--distpath", str(directory.absolute())]
        command += ["--workpath", f"{work}/build", "--specpath", work, "--copy-metadata", _NAME]
        command += [word for name in _COLLECTED for word in ("--collect-all", name)]
        command += [word for name in _EXCLUDED for word in ("--exclude-module", name)]
        subprocess.run([*command, str(entry)], cwd=work, env=environment, check=True)
    return directory / _NAME


def oldest_glibc(file: Path) -> tuple[int, int]:
    """The oldest glibc that all of the executable runs with: the newest version of a symbol that any of it asks for."""
    versions = {(0, 0)}
    for binary in _binaries(file):
        listed = subprocess.run(["objdump", "-T", binary], capture_output=True, text=True, check=False)
        versions |= {(int(major), int(minor)) for major, minor in _GLIBC.findall(listed.stdout)}
    return max(versions)


def _binaries(file: Path) -> Iterator[Path]:
    from PyInstaller.archive.readers import CArchiveReader

    yield file
    archive = CArchiveReader(str(file))
    with tempfile.TemporaryDirectory() as work:
        for number, (name, entry) in enumerate(archive.toc.items()):
            if entry[-1] == "b":
                path = Path(work) / str(number)
                path.write_bytes(archive.extract(name))
                yield path


if __name__ == "__main__":
    built = build_standalone(Path(sys.argv[1]))
    major, minor = oldest_glibc(built)
    print(f"{built}: {built.stat().st_size / 1e6:.1f} MB, runs with glibc {major}.{minor} or newer")
