"""A squashfs to switch root to: the lab's own init as /sbin/init and /sbin/modprobe, and empty directories."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kernels.lab.initramfs import build_init
from tests.kernels.lab.squashfs import cached_image

__all__ = ("build_root_image",)


def build_root_image() -> Path:
    """The image, built once for its init.

    :raises LabError: mksquashfs is missing, or refuses.
    """
    init = build_init()

    def stage(root: Path) -> None:
        # real-root tells the init that it runs here
        for name in ("dev", "proc", "sys", "run", "mnt", "tmp", "sbin", "real-root"):
            (root / name).mkdir()
        shutil.copy2(init, root / "sbin" / "init")
        shutil.copy2(init, root / "sbin" / "modprobe")

    return cached_image("root", init.name, stage)
