"""Squashfs images for guests' disks, each built once for what goes into it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, scratch_dir
from tests.kernels.lab.hosttool import run_host_tool

__all__ = ("cached_image",)

_KEPT_S = 1800


@contextmanager
def _usual_modes() -> Iterator[None]:
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def cached_image(kind: str, digest: str, stage: Callable[[Path], None]) -> Path:
    """The image of ``kind`` whose content ``digest`` names; others of its kind go when nobody used them for a while.

    In it every file is root's, with the mode it has been staged with: what is setuid there is root's setuid here.

    :param stage: fills the directory it is given, which exists and is empty
    :raises LabError: mksquashfs is missing, or refuses
    """
    directory = cache_dir() / kind
    final = directory / f"{digest}.squashfs"
    with locked(kind):
        if final.exists():
            final.touch()
            return final
        directory.mkdir(exist_ok=True)
        for old in directory.glob("*.squashfs"):
            # a run from other sources may be about to open its own
            if time.time() - old.stat().st_mtime > _KEPT_S:
                old.unlink()
        # The tool, run in this process by some test, leaves it a umask under which nobody else could read what is made.
        with scratch_dir() as scratch, _usual_modes():
            root, made = scratch / "root", scratch / "image"
            root.mkdir()
            stage(root)
            # not compressed: to pack it here and unpack it under emulation costs more than to read it
            plain = ("-comp", "gzip", "-noI", "-noD", "-noF", "-noX")
            command = ["mksquashfs", str(root), str(made), *plain, "-all-root", "-quiet"]
            run_host_tool(command, "mksquashfs (package squashfs-tools)", "mksquashfs: ")
            made.rename(final)
    return final
