"""A tracing instance of our own in tracefs, and its end: nobody else's tracing is touched, and nothing is left behind.

An instance has its own buffers, options and enabled events; events themselves belong to all, so that ours are a group
of their own. Both are named after the process: its pid namespace, pid and start, so that what a killed one left can be
told from what is in use.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from explorer.targets import TargetError

__all__ = (
    "Owner",
    "find_tracefs",
    "open_control",
    "read_anew",
    "remove_stale",
    "remove_tracing",
    "stale_names",
    "write_control",
)

_PREFIX = "nullfs_explorer"
_NAME = re.compile(rf"{_PREFIX}_(\d+)_(\d+)_(\d+)")
_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_STAT_START = 19
#: Readers of a process that was killed close their files at once; of one that is being dumped, later.
_REMOVE_S = 10.0


class Owner:
    """The process that an instance belongs to."""

    def __init__(self, namespace: int, pid: int, start: int) -> None:
        self.namespace, self.pid, self.start = namespace, pid, start

    @classmethod
    def this(cls) -> Owner:
        """Of the calling process."""
        pid = os.getpid()
        start = _start_of(pid)
        if start is None:
            raise TargetError("/proc is not mounted: a tracing instance cannot be told from a stale one")
        return cls(_pid_namespace(), pid, start)

    @classmethod
    def of_name(cls, name: str) -> Owner | None:
        """Whose an instance is, by its name; ``None``: not one of ours."""
        match = _NAME.fullmatch(name)
        return None if match is None else cls(*map(int, match.groups()))

    @property
    def name(self) -> str:
        """Of its instance, and of its group of events."""
        return f"{_PREFIX}_{self.namespace}_{self.pid}_{self.start}"

    def is_gone(self) -> bool:
        """Whether that process has ended; of another pid namespace nobody here can tell, and it counts as alive."""
        return self.namespace == _pid_namespace() and _start_of(self.pid) != self.start


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _start_of(pid: int) -> int | None:
    """When it started, in ticks since boot (field 22 of /proc/PID/stat); ``None``: there is none, or only a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    words = text.rpartition(b")")[2].split()
    return None if words[0] in (b"Z", b"X") else int(words[_STAT_START])


def find_tracefs() -> Path:
    """Where tracefs is mounted. :raises TargetError: if it is nowhere, or may not be looked into"""
    for place in map(Path, _PLACES):
        try:
            if (place / "instances").is_dir():
                return place
        except PermissionError as error:
            raise TargetError(f"{place} may not be read: trace needs root (sudo)") from error
    raise TargetError(
        f"tracefs is not mounted: mount -t tracefs nodev {_PLACES[0]} (it needs a kernel with CONFIG_FTRACE)"
    )


def remove_tracing(tracefs: Path, name: str, patience_s: float = _REMOVE_S) -> list[str]:
    """Remove an instance, and the events of its group. What is not there is no fault.

    :returns: what is left, and why
    """
    instance, left = tracefs / "instances" / name, []
    _put(instance / "tracing_on", "0")
    _put(instance / "events" / name / "enable", "0")
    deadline = time.monotonic() + patience_s
    why = _remove_instance(instance)
    while why and time.monotonic() < deadline:
        time.sleep(0.05)
        why = _remove_instance(instance)
    if why:
        left.append(f"{instance}: {why}")
    for event in _events(tracefs, name):
        try:
            write_control(tracefs / "dynamic_events", f"-:{name}/{event}")
        except OSError as error:
            left.append(f"event {name}/{event}: {error.strerror}")
    return left


def stale_names(tracefs: Path) -> list[str]:
    """What processes of ours have left that have ended. :raises OSError: if it may not be looked at"""
    names = {path.name for path in _children(tracefs / "instances")} | {
        path.name for path in _children(tracefs / "events")
    }
    owners = {name: Owner.of_name(name) for name in names}
    return sorted(name for name, owner in owners.items() if owner is not None and owner.is_gone())


def remove_stale(tracefs: Path) -> tuple[list[str], list[str]]:
    """Remove what processes of ours left that have ended.

    :returns: the names of what was removed, and what is left and why
    """
    removed, left = [], []
    for name in stale_names(tracefs):
        still = remove_tracing(tracefs, name, 1.0)
        left += still
        if not still:
            removed.append(name)
    return removed, left


def _children(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def _events(tracefs: Path, group: str) -> list[str]:
    return sorted(path.name for path in _children(tracefs / "events" / group) if path.is_dir())


def _remove_instance(instance: Path) -> str:
    """Why it is still there; empty: it is not."""
    try:
        instance.rmdir()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or "?"
    return ""


def _put(path: Path, text: str) -> None:
    with suppress(FileNotFoundError):
        write_control(path, text)


def open_control(path: Path) -> int:
    """A file by which tracing is set. What is in it stays: truncating ``dynamic_events`` would delete everybody's.

    :raises OSError: if it cannot be opened
    """
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def read_anew(descriptor: int, most: int) -> bytes:
    """What a file of the kernel's says now, from its beginning. :param most: bytes, at most"""
    os.lseek(descriptor, 0, os.SEEK_SET)
    blocks, left = [], most
    while left > 0 and (block := os.read(descriptor, min(left, 1 << 20))):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def write_control(path: Path, text: str) -> None:
    """Set something. :raises OSError: if the kernel refuses"""
    descriptor = open_control(path)
    try:
        os.write(descriptor, text.encode() + b"\n")
    finally:
        os.close(descriptor)
