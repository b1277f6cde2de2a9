"""A squashfs that holds this machine's own Python and the installed tool: to run the tool inside a guest.

The image has ``/py`` (Python's prefix), ``/site`` (the packages the tool needs), ``/app`` (the tool) and the shared
libraries that any of them needs, each under its own path.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.metadata
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, scratch_dir
from tests.kernels.lab.errors import LabError

__all__ = ("PYTHON_COMMAND", "build_live_image")

#: What runs the tool, after chroot() into the image.
PYTHON_COMMAND = ("/py/bin/python3", "-m", "explorer")

_PACKAGE = Path(__file__).parents[3] / "explorer"
#: What runs in the guest beside the tool.
_SCRIPTS = Path(__file__).parent / "guest"
#: Parts of the standard library that a command-line tool never imports; half of its size.
_LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "site-packages")
_REQUIRED = ("click", "drgn", "pydantic", "zstandard")


def _requirements() -> Iterator[importlib.metadata.Distribution]:
    """The distributions the tool's capture half needs, with what they need."""
    pending, seen = list(_REQUIRED), set()
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
        pending += [
            re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            for requirement in distribution.requires or ()
            if "extra ==" not in requirement
        ]


def _copy_packages(site: Path) -> None:
    for distribution in _requirements():
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." in file.parts or file.suffix == ".pyc" or not source.is_file():
                continue
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _copy_python(prefix: Path) -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    ignore = shutil.ignore_patterns("__pycache__", "*.a", "config-*", *_LEFT_OUT)
    shutil.copytree(stdlib, prefix / "lib" / stdlib.name, ignore=ignore)
    (prefix / "bin").mkdir()
    shutil.copy2(Path(sys.executable).resolve(), prefix / "bin" / "python3")


def _shared_libraries(root: Path) -> set[Path]:
    """Every library that an ELF file below ``root`` needs and that is not below it."""
    files = [path for path in root.rglob("*") if path.name == "python3" or ".so" in path.name]
    listing = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False).stdout
    found = set(re.findall(r"(?:=>\s+|^\s+)(/\S+)\s+\(0x", listing, re.MULTILINE))
    return {Path(path) for path in found if not path.startswith(str(root))}


def _stage(root: Path) -> None:
    _copy_python(root / "py")
    _copy_packages(root / "site")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(_PACKAGE, root / "app" / "explorer", ignore=ignore)
    for script in _SCRIPTS.glob("*.py"):
        shutil.copy2(script, root / "app" / script.name)
    for directory in ("py", "site", "app"):
        unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(str(root / directory), quiet=2, invalidation_mode=unchecked)
    for library in _shared_libraries(root):
        target = root / str(library).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.resolve(), target)
    for directory in ("proc", "sys", "dev", "tmp"):
        (root / directory).mkdir(exist_ok=True)


def _digest() -> str:
    """Changes with whatever goes into the image."""
    digest = hashlib.sha256(sys.version.encode())
    for distribution in sorted(_requirements(), key=lambda found: found.name):
        digest.update(f"{distribution.name} {distribution.version}\n".encode())
    for source in [Path(__file__), *sorted(_PACKAGE.rglob("*.py")), *sorted(_SCRIPTS.glob("*.py"))]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:24]


def build_live_image() -> Path:
    """The image, built once for what is in it.

    :raises LabError: mksquashfs is missing, or refuses.
    """
    directory = cache_dir() / "live"
    final = directory / f"{_digest()}.squashfs"
    with locked("live"):
        if final.exists():
            return final
        directory.mkdir(exist_ok=True)
        for old in directory.glob("*.squashfs"):
            old.unlink()
        with scratch_dir() as scratch:
            _stage(scratch / "root")
            made = scratch / "image"
            # gzip: what every kernel's squashfs can read, and quick to unpack under emulation
            command = ["mksquashfs", str(scratch / "root"), str(made), "-comp", "gzip", "-all-root", "-quiet"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                raise LabError("the lab needs mksquashfs (package squashfs-tools)") from None
            if done.returncode:
                raise LabError(f"mksquashfs: {done.stderr.strip()}")
            made.rename(final)
    return final
