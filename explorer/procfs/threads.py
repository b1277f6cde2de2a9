"""Threads as /proc lists them: of each what its ``stat``, ``status`` and ``cgroup`` say.

A kernel thread's name there has more than ``task_struct.comm`` (``proc_task_name()``, fs/proc/array.c): the full name,
and what a worker runs. The first 15 bytes of what is left without that are ``comm``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from explorer.model import Container, TaskFlag, TaskKind, container_among, container_of, kernel_text

__all__ = ("Thread", "kind_of", "list_threads", "read_thread")

_COMM = 15
_MAX_FILE = 1 << 16
#: Behind a worker's own name: what it runs, or ran last.
_WORKS = re.compile(rb"^(kworker/[^-+]*:[^-+]*)[-+].*", re.DOTALL)
_RESCUER = b"kworker/R-"
_UMASK = re.compile(rb"^Umask:\s*([0-7]+)$", re.MULTILINE)
_NSPID = re.compile(rb"^NSpid:\s*([\d\t ]+)$", re.MULTILINE)
_CGROUP = re.compile(rb"^0::(.*)$", re.MULTILINE)
_CGROUP_V1 = re.compile(rb"^[1-9][0-9]*:[^:\n]*:(.*)$", re.MULTILINE)
_IO_OR_USER_WORKER = TaskFlag.IO_WORKER | TaskFlag.USER_WORKER


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread; its directory in /proc is ``path``."""

    path: str
    pid: int
    tgid: int
    ppid: int
    name: bytes
    state: str
    flags: int
    ticks: int
    """When it started, in clock ticks since boot."""
    umask: str | None
    pid_in_namespace: int | None
    cgroup: str | None
    container: Container | None

    @property
    def has_exited(self) -> bool:
        """It has no ``fs_struct`` any more."""
        return self.state in "ZX"

    @property
    def comm(self) -> str:
        """``task_struct.comm``."""
        is_worker = self.flags & TaskFlag.KTHREAD and self.flags & TaskFlag.WQ_WORKER
        return kernel_text((_WORKS.sub(rb"\1", self.name) if is_worker else self.name)[:_COMM])


def list_threads() -> Iterator[tuple[int, int]]:
    """(thread group, thread) of all that can be seen, by number."""
    for process in sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()):
        try:
            threads = sorted(int(path.name) for path in Path(f"/proc/{process}/task").iterdir())
        except OSError:
            continue  # it is gone
        yield from ((process, thread) for thread in threads)


def read_thread(tgid: int, pid: int) -> Thread:
    """:raises OSError: if it is gone"""
    path = f"/proc/{tgid}/task/{pid}"
    stat = _read(f"{path}/stat")
    name, _, rest = stat[stat.index(b"(") + 1 :].rpartition(b") ")
    words = rest.split()
    status = _read(f"{path}/status")
    umask, numbers = _UMASK.search(status), _NSPID.search(status)
    inner = numbers[1].split() if numbers else []
    groups = _read(f"{path}/cgroup")
    group = _CGROUP.search(groups)
    return Thread(
        path=path,
        pid=pid,
        tgid=tgid,
        ppid=int(words[1]),
        name=name,
        state=words[0].decode(),
        flags=int(words[6]),
        ticks=int(words[19]),
        umask=f"{int(umask[1], 8):04o}" if umask else None,
        pid_in_namespace=int(inner[-1]) if len(inner) > 1 else None,
        cgroup=None if group is None else kernel_text(group[1]),
        container=(None if group is None else container_of(group[1]))
        or container_among(_CGROUP_V1.findall(groups)),
    )


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(_MAX_FILE)


def kind_of(thread: Thread, parent: Thread | None) -> TaskKind | None:
    """As a capture decides it, but for workers: which of them are rescuers, only their names tell here."""
    if thread.tgid == 1:
        return TaskKind.INIT
    if thread.flags & TaskFlag.KTHREAD:
        if not thread.flags & TaskFlag.WQ_WORKER:
            return TaskKind.KTHREAD
        is_rescuer = thread.name.startswith(_RESCUER) or not thread.name.startswith(b"kworker/")
        return TaskKind.RESCUER if is_rescuer else TaskKind.KWORKER
    # None of them leads its process; until 5.16 one of the bits meant PF_USED_ASYNC, which what loads modules has.
    if thread.flags & _IO_OR_USER_WORKER and thread.pid != thread.tgid:
        return TaskKind.IO_WORKER
    if thread.ppid == 1:
        return TaskKind.USER
    if parent is None:
        return TaskKind.USER if thread.ppid else TaskKind.USERMODEHELPER
    return TaskKind.USERMODEHELPER if parent.flags & TaskFlag.KTHREAD else TaskKind.USER
