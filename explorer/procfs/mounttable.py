"""The mounts of a namespace as whoever stands at its visible root sees them.

``mntns_install()`` (fs/namespace.c) puts whoever enters a namespace at the topmost mount on its root: a child does so,
and reads its own mountinfo there. That needs root; without it no mount is known.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from explorer.model import MNT_OPTIONS, Attachment, Mount, MountOption, kernel_text
from explorer.syscalls import fork

from .syscalls import enter_mount_namespace, find_place

__all__ = ("NamespaceView", "view_namespace")

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_MAX_TABLE = 64 << 20
_OPTIONS = {"rw", "idmapped", *MNT_OPTIONS.values()}


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """One namespace."""

    inum: int
    visible_root: int | None
    """Id of the mount that ``/`` means there; ``None``: nobody could go and see."""
    mounts: dict[int, Mount]
    """By id, which is their address, too: /proc has no other."""


def view_namespace(pid: int, inum: int) -> NamespaceView:
    """Look at the mount namespace of a thread. :raises OSError: if that may not be done"""
    reading, writing = os.pipe()
    child = fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            _tell(pid, writing)
            status = 0
        except OSError as error:
            status = min(error.errno or 1, 255)
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read(_MAX_TABLE)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status, os.strerror(status) if status > 0 else f"the child ended by signal {-status}")
    root, _, table = told.partition(b"\n")
    return NamespaceView(inum, int(root), dict(parse_table(table, inum)))


def _tell(pid: int, pipe: int) -> None:
    """In the child: the id of the mount at the root, and the table."""
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    namespace = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    own = os.getpid()
    enter_mount_namespace(namespace)
    place = find_place("/")
    with os.fdopen(os.open(f"{own}/mountinfo", os.O_RDONLY, dir_fd=proc), "rb") as file:
        table = file.read(_MAX_TABLE)
    with os.fdopen(pipe, "wb") as out:
        out.write(f"{place.mount or 0}\n".encode() + table)


def parse_table(table: bytes, inum: int) -> Iterator[tuple[int, Mount]]:
    """The lines of a mountinfo (``show_mountinfo()``, fs/proc_namespace.c), by the id of the mount."""
    for line in table.splitlines():
        before, _, behind = line.partition(b" - ")
        words, ends = before.split(b" "), behind.split(b" ")
        if len(words) < 6 or len(ends) < 2:
            continue
        number, parent = int(words[0]), int(words[1])
        tags = dict(_tag(word) for word in words[6:] if word)
        flags = words[5].decode(errors="replace").split(",")
        options: list[MountOption] = [flag for flag in flags if flag in _OPTIONS]  # type: ignore[misc]
        yield (
            number,
            Mount(
                address=number,
                id=number,
                unique_id=None,
                parent=None if parent == number else parent,
                mnt_ns=inum,
                superblock=None,
                fstype=_text(ends[0]),
                magic=None,
                source=_text(ends[1]),
                mountpoint=_text(words[4]),
                flags=None,
                overmount=None,
                attachment=Attachment.NAMESPACE,
                dev=_text(words[2]),
                root=_text(words[3]),
                options=options,
                shared=tags.get("shared"),
                master=tags.get("master"),
                propagate_from=tags.get("propagate_from"),
                unbindable="unbindable" in tags,
            ),
        )


def _tag(word: bytes) -> tuple[str, int | None]:
    name, _, number = word.partition(b":")
    return name.decode(errors="replace"), int(number) if number.isdigit() else None


def _text(word: bytes) -> str:
    return kernel_text(_ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), word))
