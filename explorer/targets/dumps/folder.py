"""A crash folder: what kdump-tools (``/var/crash/DATE``) and kdump (``/var/crash/HOST-DATE``) leave is a target."""

from __future__ import annotations

import errno
import os
from itertools import islice
from pathlib import Path

from explorer.targets.dumps.containers import DUMPS, Format, open_file, peek
from explorer.targets.dumps.elfcore import is_core
from explorer.targets.errors import TargetError

__all__ = ("dump_in",)

#: A crash folder has three or four files.
_MAX_ENTRIES = 1000
_NAMED = 5
#: The newest: they are named by date.
_MAX_FOLDERS = 100
_NAMES = ("dump.", "dump-", "vmcore")
#: Lies in every dataset of a fleet, which no reader opens.
_FLEET = "fleet.json"


def dump_in(folder: Path, name: str) -> Path:
    """The only dump in a folder, judged by content; else what is called like one, so that it is said why it is none.

    :raises TargetError: if there is none, or more than one
    """
    files, folders = _entries(folder, name)
    dumps = [path for path in files if _is_dump(path)] or _called_so(files)
    if len(dumps) == 1:
        return dumps[0]
    if dumps:
        raise TargetError(f"{name}: a folder with {len(dumps)} dumps: name one of them: {_some(dumps)}")
    within = [path for path in folders[-_MAX_FOLDERS:] if _holds_dump(path)]
    if within:
        raise TargetError(f"{name}: a folder of crash folders: name one of them: {_some(within)}")
    if folder / _FLEET in files:
        raise TargetError(
            f"{name}: a fleet's dataset, and no dump: for it there are nullfs-explorer FLEET, serve, fleet report and "
            "fleet tasks"
        )
    what = f"no dump in this folder, only {_some(files)}" if files else "no dump in this folder"
    raise TargetError(f"{name}: {what}: name a dump, or a crash folder that holds one")


def _entries(folder: Path, name: str) -> tuple[list[Path], list[Path]]:
    """Files and folders in it, by name. They may be links: what is opened is checked again."""
    try:
        with os.scandir(folder) as found:
            entries = list(islice(found, _MAX_ENTRIES + 1))
            files = sorted(Path(entry.path) for entry in entries if entry.is_file())
            folders = sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError as error:
        hint = " (crash folders usually belong to root: try sudo)" if error.errno == errno.EACCES else ""
        raise TargetError(f"{name}: {error.strerror}{hint}") from error
    if len(entries) > _MAX_ENTRIES:
        raise TargetError(f"{name}: a folder of more than {_MAX_ENTRIES} files: name the dump in it")
    return files, folders


def _is_dump(path: Path) -> bool:
    try:
        with open_file(path) as file:
            _, inner, head = peek(file, str(path))
    except TargetError:
        return False
    return inner in DUMPS and (inner is not Format.ELF or is_core(head))


def _called_so(files: list[Path]) -> list[Path]:
    return [path for path in files if path.name.startswith(_NAMES) and "dmesg" not in path.name]


def _holds_dump(folder: Path) -> bool:
    """By name: what is in it is not opened."""
    try:
        return bool(_called_so(_entries(folder, str(folder))[0]))
    except TargetError:
        return False


def _some(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[-_NAMED:])
    return f"{names} and {len(paths) - _NAMED} more" if len(paths) > _NAMED else names
