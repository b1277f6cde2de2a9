"""On whose behalf this process runs, and what follows for plugins and directories: stands below all layers.

Under sudo, pkexec or doas this process is root, its caller is not. Plugins that did not come with the tool are the
caller's business, not root's; a directory that is the caller's is no place for root's files.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = (
    "Caller",
    "allow_strangers",
    "children_run_for_another_user",
    "find_caller",
    "is_foreign",
    "known_path",
    "runs_for_another_user",
    "strangers_allowed",
)

_MAX_LINKS = 40
_BY_UID = (("SUDO_UID", "SUDO_GID"), ("PKEXEC_UID", ""))
_MAX_ID = (1 << 32) - 2
#: In the environment of what a process starts that has become its caller. It can only restrict.
_FOR_ANOTHER = "NULLFS_EXPLORER_FOR_ANOTHER"
_allowed = False


class Caller(NamedTuple):
    """The user who asked root for this, with the groups that a login gives."""

    uid: int
    gid: int
    groups: tuple[int, ...]


def find_caller(environment: Mapping[str, str] | None = None) -> Caller | None:
    """Who called this process through sudo, pkexec, doas; ``None`` for nobody, or somebody unknown here."""
    values = os.environ if environment is None else environment
    if os.geteuid() != 0:
        return None
    if os.getuid() != 0:
        return _caller(os.getuid(), os.getgid())
    for uid, gid in _BY_UID:
        if (number := _number(values.get(uid, "0"))) not in (0, None):
            return _caller(number, _number(values.get(gid, "")))
    try:
        found = pwd.getpwnam(values.get("DOAS_USER", "root"))
    except (KeyError, ValueError):
        return None
    return _caller(found.pw_uid, found.pw_gid) if found.pw_uid else None


def _number(text: str) -> int | None:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None
    return number if number is not None and number <= _MAX_ID else None


def _caller(uid: int | None, gid: int | None) -> Caller | None:
    if uid is None:
        return None
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return Caller(uid, gid, (gid,)) if gid else None
    return Caller(uid, known.pw_gid, tuple(os.getgrouplist(known.pw_name, known.pw_gid)))


def runs_for_another_user(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process had root's rights when this was first asked, and its caller has not: sudo, pkexec, doas.

    It stays so when the rights have been given up: what was opened with them is still open.
    """
    return _started_for_another() if environment is None else _is_for_another(environment)


@cache
def _started_for_another() -> bool:
    return _is_for_another(os.environ)


def children_run_for_another_user() -> None:
    """From here on it is true of whatever this process starts, too, though it is no root any more."""
    os.environ[_FOR_ANOTHER] = "1"


def _is_for_another(values: Mapping[str, str]) -> bool:
    if os.getuid() != os.geteuid() or values.get(_FOR_ANOTHER) == "1":
        return True
    if os.geteuid() != 0:
        return False
    return any(values.get(uid, "0") != "0" for uid, _ in _BY_UID) or values.get("DOAS_USER", "root") != "root"


def allow_strangers() -> None:
    """``--allow-plugins-as-root``: from here on any plugin is loaded in this process."""
    global _allowed
    _allowed = True


def strangers_allowed() -> bool:
    """Whether plugins may be loaded that did not come with this package."""
    return _allowed or not runs_for_another_user()


def is_foreign(uid: int) -> bool:
    """Whether what has this owner is in the hands of somebody who is neither this process's user nor root."""
    return uid not in (os.geteuid(), 0)


def known_path(path: Path, base: Path) -> None:
    """Check that a path from ``base`` down, or from its first parent that is there, is nobody else's.

    Every directory and every symbolic link on the way must belong to this user or to root.

    :raises ValueError: if one does not; names it
    """
    base = next((part for part in (base, *base.parents) if os.path.lexists(part)), base)
    below = path.relative_to(base).parts if path.is_relative_to(base) else ()
    _check_owners(base, [*below], _MAX_LINKS)


def _check_owners(at: Path, below: list[str], links: int) -> None:
    while True:
        try:
            status = at.lstat()
        except FileNotFoundError:
            return
        if is_foreign(status.st_uid):
            raise ValueError(f"{at} belongs to another user")
        if stat.S_ISLNK(status.st_mode):
            if not links:
                raise ValueError(f"{at}: too many symbolic links")
            links -= 1
            target = at.readlink()
            if target.is_absolute():
                # Judged from its root on: whoever may change a part of it decides where it leads.
                at, below = Path(target.anchor), [*target.parts[1:], *below]
            else:
                at, below = at.parent, [*target.parts, *below]
            continue
        if not below:
            return
        at = at / below.pop(0)
