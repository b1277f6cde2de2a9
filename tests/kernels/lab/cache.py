"""The lab's cache directory: shared between runs, and by processes that run at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ("cache_dir", "locked", "replace_dir", "scratch_dir")


def cache_dir() -> Path:
    """Where kernels and built files stay: ``$NULLFS_EXPLORER_LAB``, or a directory in the user's cache."""
    chosen = os.environ.get("NULLFS_EXPLORER_LAB")
    if chosen:
        path = Path(chosen)
    else:
        base = os.environ.get("XDG_CACHE_HOME")
        path = (Path(base) if base else Path.home() / ".cache") / "nullfs-explorer-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the cache's lock ``name``: one process at a time, released by the kernel if the process dies."""
    locks = cache_dir() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch_dir() -> Iterator[Path]:
    """A new directory in the cache's own filesystem, so that what is made in it can be renamed into place."""
    base = cache_dir() / "tmp"
    base.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def replace_dir(made: Path, final: Path) -> None:
    """Rename the finished directory ``made`` to ``final``; what was there is removed."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    made.rename(final)
