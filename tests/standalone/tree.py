"""What is in the one file: this machine's own Python and C library, the tool, and what it needs, without sources.

``bin/python3`` with ``lib/python3.N`` and ``lib/python3N.zip``, as it finds them by itself: it looks for them from its
own place upwards, and the first that it meets must be ours. Libraries lie in ``lib`` too. What can be imported from a
zip archive is in one: to make a file costs more than to read it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.python_tree import ROOT, copy_packages, copy_python, metadata_files, shared_libraries

__all__ = ("LOADER", "stage_tree")

#: The C library's loader goes by the tool's name: it is what runs, and ``ps`` and the kernel show it.
LOADER = "nullfs-explorer"
#: What no command uses, and much of which would bring libraries of its own.
_NO_STDLIB = (
    *(
        "_curses*",
        "_crypt*",
        "_dbm*",
        "_gdbm*",
        "_hashlib*",
        "_sqlite3*",
        "_ssl*",
        "_tkinter*",
        "_uuid*",
        "nis*",
    ),
    *("ossaudiodev*", "_test*", "_xx*", "xx*", "sqlite3", "pydoc_data", "distutils", "turtle.py"),
)
#: What is only there for whoever builds or installs a package.
_NO_PACKAGE = ("*.pyi", "*.pxd", "*.h", "*.c", "py.typed")
_NO_METADATA = (
    "RECORD",
    "INSTALLER",
    "REQUESTED",
    "WHEEL",
    "direct_url.json",
    "top_level.txt",
    "SOURCES.txt",
)
_START = """import sys

sys.frozen = True
del sys.argv[0]  # this file: what is behind it is the one that carries all this
sys.executable = sys.argv[0]
from explorer.cli import main

main()
"""
_COMPILE = """import compileall, py_compile, sys
compileall.compile_dir(
    sys.argv[1], maxlevels=32, quiet=2, force=True, legacy=True, stripdir=sys.argv[1],
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
"""


def stage_tree(root: Path) -> None:
    """Fill ``root``, which exists and is empty."""
    packages = copy_python(root, _NO_STDLIB)
    copy_packages(packages)
    info = packages / "nullfs_explorer-0.dist-info"
    info.mkdir()
    for name, text in metadata_files().items():
        (info / name).write_text(text)
    (root / "start.py").write_text(_START)
    _remove(packages, _NO_PACKAGE)
    for each in packages.glob("*.dist-info"):
        _remove(each, _NO_METADATA)
    # After that: our own stubs say what is imported when it is used.
    shutil.copytree(ROOT / "explorer", packages / "explorer", ignore=shutil.ignore_patterns("__pycache__"))
    _replace_sources(root)
    _zip_up(packages)
    libraries = root / "lib"
    for library in shared_libraries(root):
        is_loader = library.name.startswith("ld-linux")
        shutil.copyfile(library.resolve(), root / LOADER if is_loader else libraries / library.name)
    (root / LOADER).chmod(0o755)
    _strip(root)


def _remove(directory: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in directory.rglob(pattern):
            path.unlink()


def _replace_sources(root: Path) -> None:
    """Each source by what Python makes of it, which does not depend on when, where and by whom it is made."""
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    subprocess.run([sys.executable, "-s", "-P", "-c", _COMPILE, str(root)], env=environment, check=True)
    for source in root.rglob("*.py"):
        if source.parent.name != "plugins":  # which are read as a stranger's are
            source.unlink()


def _zip_up(packages: Path) -> None:
    standard = packages.parent
    kept: tuple[str, ...] = ("lib-dynload", packages.name)
    name = standard.name.replace(".", "")
    _zip([path for path in standard.iterdir() if path.name not in kept], standard.with_name(f"{name}.zip"))
    # our own stubs, and what is beside a library, are opened by their names
    kept = ("explorer", *(path.relative_to(packages).parts[0] for path in packages.rglob("*.so*")))
    _zip([path for path in packages.iterdir() if path.name not in kept], packages / "packages.zip")
    (packages / "packages.pth").write_text("packages.zip\n")


def _zip(found: list[Path], archive: Path) -> None:
    """Move what was found to an archive without dates, which is not compressed: all will be."""
    with zipfile.ZipFile(archive, "w") as file:
        for top in sorted(found):
            inside = sorted(path for path in (top, *top.rglob("*")) if path.is_file())
            for path in inside:
                file.writestr(zipfile.ZipInfo(str(path.relative_to(top.parent))), path.read_bytes())
            if top.is_dir():
                shutil.rmtree(top)
            else:
                top.unlink()


def _strip(root: Path) -> None:
    """Symbols for debuggers are half of all. What auditwheel has patched (``NAME.libs``) does not bear it."""
    patched = {path.name.removesuffix(".libs") for path in root.rglob("*.libs")}
    for path in sorted(root.rglob("*.so*")):
        named = {
            path.parent.name,
            path.parent.name.removesuffix(".libs"),
            path.name.lstrip("_").partition(".")[0],
        }
        if not named & patched:
            subprocess.run(["strip", "--strip-unneeded", str(path)], check=True)
