"""Builds the one file: the launcher, with the packed tree in it."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from tests.standalone.archive import pack_tree
from tests.standalone.tree import stage_tree

__all__ = ("build_launcher", "build_standalone")

_LAUNCHER = Path(__file__).parent / "launcher.c"
_FLAGS = ("-static", "-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-s", "-Wl,--build-id=none")


def build_standalone(file: Path) -> None:
    """The executable, as ``file``."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        stage_tree(root)
        build_launcher(root, file)


def build_launcher(root: Path, file: Path) -> None:
    """An executable that unpacks what is in ``root``, and runs what :data:`~tests.standalone.tree.LOADER` is there."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "archive").write_bytes(pack_tree(root))
        command = ["gcc", *_FLAGS, "-o", str(file.absolute()), f"-Wa,-I{directory}", str(_LAUNCHER), "-lzstd"]
        subprocess.run(command, cwd=directory, check=True)
