"""A squashfs to switch root to: the lab's own init as /sbin/init and /sbin/modprobe, and empty directories."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.kernels.lab.cache import cache_dir, locked, scratch_dir
from tests.kernels.lab.errors import LabError
from tests.kernels.lab.initramfs import build_init

__all__ = ("build_root_image",)


def build_root_image() -> Path:
    """The image, built once for its init.

    :raises LabError: mksquashfs is missing, or refuses.
    """
    init = build_init()
    directory = cache_dir() / "root"
    final = directory / f"{init.name}.squashfs"
    with locked("root"):
        if final.exists():
            return final
        directory.mkdir(exist_ok=True)
        for old in directory.glob("*.squashfs"):
            old.unlink()
        with scratch_dir() as scratch:
            root = scratch / "root"
            # real-root tells the init that it runs here
            for name in ("dev", "proc", "sys", "run", "mnt", "tmp", "sbin", "real-root"):
                (root / name).mkdir(parents=True)
            shutil.copy2(init, root / "sbin" / "init")
            shutil.copy2(init, root / "sbin" / "modprobe")
            made = scratch / "image"
            command = ["mksquashfs", str(root), str(made), "-comp", "gzip", "-all-root", "-quiet"]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            except FileNotFoundError:
                raise LabError("the lab needs mksquashfs (package squashfs-tools)") from None
            if done.returncode:
                raise LabError(f"mksquashfs: {done.stderr.strip()}")
            made.rename(final)
    return final
