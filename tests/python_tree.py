"""This machine's own Python with the installed tool, as a tree of files that runs elsewhere.

In a guest (``tests/kernels/lab/liveimage.py``), and on machines that have no Python (``tests/standalone``).
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = (
    "copy_packages",
    "copy_python",
    "metadata_files",
    "project_table",
    "required_packages",
    "shared_libraries",
)

ROOT = Path(__file__).parents[1]
#: Parts of the standard library that a command-line tool never imports; half of its size.
_LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages")


def project_table() -> dict[str, Any]:
    """What an installation of the tool goes by; what is installed here may be a link to it, and older."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def metadata_files() -> dict[str, str]:
    """The files by which Python knows the installed tool and its plugins."""
    project = project_table()
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    about = f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n"
    return {"METADATA": about, "entry_points.txt": points}


def required_packages() -> Iterator[importlib.metadata.Distribution]:
    """The distributions the tool needs, with what they need."""
    pending, seen = _names(project_table()["dependencies"]), set()
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # an optional one, of another platform
        yield distribution
        pending += _names(distribution.requires or ())


def _names(requirements: Iterable[str]) -> list[str]:
    return [
        re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        for requirement in requirements
        if "extra ==" not in requirement
    ]


def copy_packages(site: Path) -> None:
    """What the tool needs, as it is installed here."""
    for distribution in required_packages():
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or file.suffix == ".pyc" or not source.is_file():
                continue
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def copy_python(prefix: Path, also_left_out: Collection[str] = ()) -> Path:
    """The interpreter and its standard library below ``prefix``, which it finds by itself. Returns the place for
    packages, which does not exist yet.

    :param also_left_out: patterns of files and directories of the standard library
    """
    stdlib = Path(sysconfig.get_path("stdlib"))
    ignore = shutil.ignore_patterns("__pycache__", "*.a", "config-*", *_LEFT_OUT, *also_left_out)
    shutil.copytree(stdlib, prefix / "lib" / stdlib.name, ignore=ignore)
    (prefix / "bin").mkdir()
    shutil.copy2(Path(sys.executable).resolve(), prefix / "bin" / "python3")
    return prefix / "lib" / stdlib.name / "site-packages"


def shared_libraries(root: Path) -> set[Path]:
    """Every library that an ELF file below ``root`` needs and that is not below it, the loader among them."""
    files = [path for path in root.rglob("*") if path.name in ("python3", "sudo") or ".so" in path.name]
    listing = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout
    found = set(re.findall(r"(?:=>\s+|^\s+)(/\S+)\s+\(0x", listing, re.MULTILINE))
    return {Path(path) for path in found if not path.startswith(str(root))}
