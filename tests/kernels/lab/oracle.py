"""What a guest's kernel itself says of every task: the truth that captures are compared with.

``init/oracle.c`` prints it inside the guest; its comment has the grammar. Three ways to be silent are kept apart:
a value, an ``OracleErrno`` (the call failed) and ``None`` (this kernel does not give it).
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field

from tests.kernels.lab.errors import LabError

__all__ = (
    "PF_DUMPCORE",
    "PF_EXITING",
    "PF_KTHREAD",
    "PF_WQ_WORKER",
    "STATX_ATTR_MOUNT_ROOT",
    "Identity",
    "MountInfo",
    "Oracle",
    "OracleErrno",
    "OracleTask",
    "parse_mountinfo",
    "parse_oracle",
)

PF_EXITING = 0x4
PF_WQ_WORKER = 0x20
PF_DUMPCORE = 0x200
PF_KTHREAD = 0x200000
STATX_ATTR_MOUNT_ROOT = 0x2000


@dataclass(frozen=True)
class OracleErrno:
    """The kernel refused the question."""

    errno: int

    def __str__(self) -> str:
        return errno.errorcode.get(self.errno, str(self.errno))


@dataclass(frozen=True)
class Identity:
    """Where a root or cwd really is, through its magic link: what path text cannot tell.

    ``magic`` is ``statfs.f_type``; ``mnt_id`` is that of mountinfo; ``unique_mnt_id`` needs 6.8.
    """

    magic: int
    dev: tuple[int, int]
    inode: int
    mnt_id: int | None
    unique_mnt_id: int | None
    attributes: int

    @property
    def is_mount_root(self) -> bool:
        """Whether it is the root of its mount."""
        return bool(self.attributes & STATX_ATTR_MOUNT_ROOT)


@dataclass(frozen=True)
class OracleTask:
    """One thread.

    ``comm`` is that of ``/proc/PID/stat``: for kernel threads the kernel prints the full name, and for kworkers
    the work too, where ``task_struct.comm`` has 15 bytes of it. ``ppid`` is the process's. ``start`` is in clock
    ticks since boot. ``fs_class`` names the ``fs_struct`` by the first pid listed that shares it (``kcmp``); tasks
    that have exited are all in one class, that of NULL.
    """

    pid: int
    tgid: int
    ppid: int
    comm: bytes
    state: str
    flags: int
    start: int
    umask: int | None
    mnt_ns: int | OracleErrno
    fs_class: int | OracleErrno
    root: bytes | OracleErrno
    cwd: bytes | OracleErrno
    root_id: Identity | OracleErrno
    cwd_id: Identity | OracleErrno

    @property
    def is_kthread(self) -> bool:
        """``PF_KTHREAD``."""
        return bool(self.flags & PF_KTHREAD)

    @property
    def has_exited(self) -> bool:
        """Whether it has no ``fs_struct`` any more: a zombie, or the dead leader of living threads."""
        return self.state in "ZX"

    @property
    def key(self) -> tuple[int, int]:
        """(pid, start): the same task in two listings, even if its pid was used again."""
        return (self.pid, self.start)


@dataclass(frozen=True)
class MountInfo:
    """One line of ``/proc/PID/mountinfo``, its octal escapes decoded to bytes."""

    mnt_id: int
    parent_id: int
    dev: tuple[int, int]
    root: bytes
    mountpoint: bytes
    options: tuple[bytes, ...]
    optional: tuple[bytes, ...]
    fstype: bytes
    source: bytes
    super_options: tuple[bytes, ...]


@dataclass(frozen=True)
class Oracle:
    """One listing.

    ``mounts``: mount namespace -> the mounts that the task ``viewers[ns]`` sees below its root. What lies under
    the visible root is in none, and a namespace whose only tasks have their roots elsewhere is missing.
    """

    release: str
    cmdline: bytes
    boot_id: str
    uptime_s: float
    hz: int
    tasks: tuple[OracleTask, ...]
    mounts: dict[int, tuple[MountInfo, ...]]
    viewers: dict[int, int]
    text: str = field(repr=False, compare=False)

    def task(self, pid: int) -> OracleTask:
        """The task ``pid``; raises KeyError."""
        for task in self.tasks:
            if task.pid == pid:
                return task
        raise KeyError(pid)

    def by_comm(self, comm: bytes | str) -> list[OracleTask]:
        """The tasks of that name, in the order of their pids."""
        wanted = os.fsencode(comm)
        return sorted((task for task in self.tasks if task.comm == wanted), key=lambda task: task.pid)

    @property
    def fs_classes(self) -> dict[int, tuple[OracleTask, ...]]:
        """Each ``fs_struct`` that a task holds -> its sharers. Exited tasks hold none."""
        found: dict[int, list[OracleTask]] = {}
        for task in self.tasks:
            if isinstance(task.fs_class, int) and not task.has_exited:
                found.setdefault(task.fs_class, []).append(task)
        return {fs_class: tuple(tasks) for fs_class, tasks in found.items()}


def _bytes(text: str) -> bytes | OracleErrno:
    return OracleErrno(int(text[1:])) if text.startswith("!") else bytes.fromhex(text)


def _int(text: str) -> int | OracleErrno:
    return OracleErrno(int(text[1:])) if text.startswith("!") else int(text)


def _optional(text: str, base: int = 10) -> int | None:
    return None if text == "-" else int(text, base)


def _identity(text: str) -> Identity | OracleErrno:
    if text.startswith("!"):
        return OracleErrno(int(text[1:]))
    magic, dev, inode, mnt_id, unique, attributes = text.split(",")
    return Identity(
        int(magic, 16), _dev(dev), int(inode), _optional(mnt_id), _optional(unique), int(attributes, 16)
    )


def _dev(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(":")
    return int(major), int(minor)


def _fields(line: str) -> dict[str, str]:
    return dict(word.partition("=")[::2] for word in line.split(" ")[1:])


def _task(line: str) -> OracleTask:
    words = _fields(line)
    return OracleTask(
        pid=int(words["pid"]),
        tgid=int(words["tgid"]),
        ppid=int(words["ppid"]),
        comm=bytes.fromhex(words["comm"]),
        state=words["state"],
        flags=int(words["flags"], 16),
        start=int(words["start"]),
        umask=_optional(words["umask"], 8),
        mnt_ns=_int(words["mnt_ns"]),
        fs_class=_int(words["fs"]),
        root=_bytes(words["root"]),
        cwd=_bytes(words["cwd"]),
        root_id=_identity(words["root_id"]),
        cwd_id=_identity(words["cwd_id"]),
    )


def _unescape(text: bytes) -> bytes:
    r"""Undo the ``\ooo`` of ``seq_escape()`` and ``mangle()``."""
    return re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8) & 0xFF]), text)


def parse_mountinfo(line: bytes) -> MountInfo:
    """Parse one line of mountinfo (see proc_pid_mountinfo(5)).

    :raises LabError: it is not one.
    """
    # Blanks in names are escaped, an empty source is an empty word: exactly one blank separates two fields.
    words = line.split(b" ")
    try:
        end = words.index(b"-", 6)
        fstype, source, super_options = words[end + 1], words[end + 2], words[end + 3]
        return MountInfo(
            mnt_id=int(words[0]),
            parent_id=int(words[1]),
            dev=_dev(words[2].decode()),
            root=_unescape(words[3]),
            mountpoint=_unescape(words[4]),
            options=tuple(words[5].split(b",")),
            optional=tuple(words[6:end]),
            fstype=_unescape(fstype),
            source=_unescape(source),
            super_options=tuple(_unescape(option) for option in super_options.split(b",")),
        )
    except (ValueError, IndexError) as error:
        raise LabError(f"no line of mountinfo: {line!r}") from error


def _text(words: dict[str, str], name: str) -> str:
    value = _bytes(words[name])
    if isinstance(value, OracleErrno):
        raise LabError(f"the guest cannot read its {name}: {value}")
    return os.fsdecode(value)


def parse_oracle(text: str) -> Oracle:
    """Parse a listing, from ``NX ORACLE BEGIN`` to ``NX ORACLE END``.

    :raises LabError: it is cut, or something else was printed into it.
    """
    lines = text.splitlines()
    end = re.fullmatch(r"NX ORACLE END (\d+)", lines[-1]) if lines else None
    if end is None or lines[0] != "NX ORACLE BEGIN":
        raise LabError("the oracle's listing does not run from NX ORACLE BEGIN to NX ORACLE END")
    body = lines[1:-1]
    if len(body) != int(end[1]):
        raise LabError(f"the oracle has {len(body)} lines, and printed {end[1]}")
    kernel: dict[str, str] = {}
    tasks: list[OracleTask] = []
    mounts: dict[int, list[MountInfo]] = {}
    viewers: dict[int, int] = {}
    for line in body:
        try:
            if line.startswith("T "):
                tasks.append(_task(line))
            elif line.startswith("M "):
                _, ns, pid, raw = line.split(" ")
                mounts.setdefault(int(ns), []).append(parse_mountinfo(bytes.fromhex(raw)))
                viewers[int(ns)] = int(pid)
            elif line.startswith("K "):
                kernel = _fields(line)
            else:
                raise LabError(f"foreign output inside the oracle: {line!r}")
        except (KeyError, ValueError) as error:
            raise LabError(f"the oracle's line cannot be parsed ({error}): {line!r}") from error
    if not kernel:
        raise LabError("the oracle says nothing of its kernel")
    return Oracle(
        release=_text(kernel, "release"),
        cmdline=os.fsencode(_text(kernel, "cmdline")),
        boot_id=_text(kernel, "boot_id"),
        uptime_s=float(_text(kernel, "uptime").split()[0]),
        hz=int(kernel["hz"]),
        tasks=tuple(sorted(tasks, key=lambda task: task.pid)),
        mounts={ns: tuple(found) for ns, found in mounts.items()},
        viewers=viewers,
        text=text,
    )
