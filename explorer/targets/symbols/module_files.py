"""Where the files of a kernel's modules are: below /lib/modules/RELEASE, as modprobe(8) finds them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from explorer.targets.errors import TargetError

__all__ = ("find_module_files", "modules_directory")

#: A distribution's kernel has some 4,000 modules, in some 600 directories.
_MAX_FILES = 100_000
_ENDINGS = re.compile(r"\.ko(?:\.(?:xz|zst|gz))?$")
#: What uname says of a kernel may be anything; a directory's name is this.
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")


def modules_directory(release: str) -> Path:
    """``/lib/modules/RELEASE``. :raises TargetError: if no kernel's directory can be called so"""
    if not _RELEASE.fullmatch(release):
        raise TargetError(
            f"there is no directory of modules for a kernel called {release[:100]!r}: name one with --modules"
        )
    return Path("/lib/modules") / release


def find_module_files(directory: Path) -> dict[str, Path]:
    """The files below a directory by the name of the module; links are not followed.

    :raises TargetError: if it is none, or has more files than a kernel's has
    """
    if not directory.is_dir():
        raise TargetError(
            f"{directory} is no directory: name the one that the kernel's modules are in, with --modules"
        )
    found: dict[str, Path] = {}
    seen = 0
    for parent, _, names in os.walk(directory):
        for name in sorted(names):
            seen += 1
            if seen > _MAX_FILES:
                raise TargetError(
                    f"{directory} has more than {_MAX_FILES:,} files: name the directory of one kernel"
                )
            if _ENDINGS.search(name):
                found.setdefault(_ENDINGS.sub("", name).replace("-", "_"), Path(parent, name))
    return found
