"""Let go of what a process that reads a kernel does not need any more.

Root is needed to open ``/proc/kcore`` and to see addresses in ``/proc/kallsyms``, or a dump that only root may read;
all is open by the time a capture begins. What runs from then on parses memory that may be hostile: it does so without
capabilities, and cannot get any back; under sudo, as the user who called. Straight to prctl(2) and capset(2) through
libc: the libraries for it would need other libraries in C.

A capability belongs to a thread, not to a process. Nothing can take it from another thread, so there must be none (see
:func:`explorer.targets.symbols.types.attach_types`): :func:`drop_privileges` looks, and fails if one has kept any.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from explorer.caller import (
    Caller,
    children_run_for_another_user,
    find_caller,
    runs_for_another_user,
)
from explorer.confine import CONNECTS, ENTERS, READS_PROCESSES, STARTS, confine
from explorer.places import find_place
from explorer.syscalls import checked, libc, signals_held
from explorer.targets.errors import TargetError
from explorer.targets.symbols import make_directory

__all__ = (
    "Needs",
    "become_caller",
    "drop_privileges",
    "give_up_rights",
    "harden_process",
    "keep_only",
    "runs_for_another_user",
)

_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG = 1, 2
_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_MAX_CAPABILITY = 63
#: What root needs to write a file into somebody's directory: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH.
_FILES = 1 << 1 | 1 << 2
#: What a process needs to send signals to one that has become another user: CAP_KILL.
_SIGNALS = 1 << 5
#: What drgn needs for every read of QEMU's memory (process_vm_readv): CAP_SYS_PTRACE.
_GUEST = 1 << 19
#: To look into every task in /proc, and to enter their mount namespaces: that, CAP_SYS_CHROOT and CAP_SYS_ADMIN.
_TASKS_OF_ALL = _GUEST | 1 << 18 | 1 << 21
#: To see what the kernel shows to root alone: CAP_DAC_READ_SEARCH, CAP_SYS_RAWIO (/proc/kcore), CAP_SYSLOG (addresses).
_LOOKS = 1 << 2 | 1 << 17 | 1 << 34
#: Threads that are on their way out need some milliseconds.
_THREADS_END_S = 5.0
_TASKS = Path("/proc/self/task")
_MAX_STATUS = 1 << 16
#: Of a directory for temporary files.
_USED = os.W_OK | os.X_OK
#: Modules are imported when they are needed: whoever this process becomes must be able to read them.
_PACKAGES = ("explorer", "os", "click", "pydantic", "zstandard", "lz4", "drgn")


@dataclass(frozen=True, slots=True)
class Needs:
    """What is still to be done when rights are given up."""

    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    guest: bool = False
    """QEMU's memory is read, which the kernel checks each time."""
    tasks: bool = False
    """All tasks are looked at in /proc, and their mount namespaces entered, which the kernel checks each time."""
    starts: bool = False
    """QEMU is started, and connected to."""
    looks: bool = False
    """What this machine shows to root is looked at, and nothing is written."""
    caches: bool = False
    """Types and symbols are kept for the next time."""

    def __add__(self, other: Needs) -> Needs:
        return Needs(
            (*self.reads, *other.reads),
            (*self.writes, *other.writes),
            self.guest or other.guest,
            self.tasks or other.tasks,
            self.starts or other.starts,
            self.looks or other.looks,
            self.caches or other.caches,
        )

    def capabilities(self) -> int:
        """Those that are kept."""
        return (
            (_GUEST if self.guest else 0)
            | (_TASKS_OF_ALL if self.tasks else 0)
            | (_LOOKS if self.looks else 0)
        )

    def calls(self) -> frozenset[str]:
        """System calls that are made, of those that :mod:`explorer.confine` denies."""
        return frozenset().union(
            READS_PROCESSES if self.guest or self.starts else (),
            ENTERS if self.tasks else (),
            STARTS | CONNECTS if self.starts else (),
        )

    @property
    def confines_files(self) -> bool:
        """Whether Landlock can be had: it forbids to look into other processes."""
        return not (self.guest or self.tasks or self.starts)

    def directories(self) -> list[Path]:
        """In which something is written, by the user who this process has become."""
        cache = make_directory() if self.caches else None
        found = [] if cache is None else [cache]
        for path in self.writes:
            with find_place(path) as place:
                found.append(Path(f"/proc/self/fd/{place.directory}").readlink())
        return found


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def harden_process() -> None:
    """For every process of the tool: no core file with a kernel's memory in it, no file that others can read.

    Where core files go to a program through a pipe, the limit does not count, but whether the process is dumpable does.
    """
    runs_for_another_user()  # asked now, as it may be another user's later
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    checked(libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    os.umask(0o077)


def give_up_rights(needs: Needs) -> None:
    """Give up as much as the rest of the work allows: what can be tried is tried, in a process of its own.

    First the caller's rights (under sudo), then root's without a capability, then with those for files alone; and with
    those that are needed each time.

    :raises TargetError: if not every thread gave them up
    """
    if os.geteuid() != 0:
        _drop(needs.capabilities())
        _check_threads(needs.capabilities())
        return
    kept, caller = needs.capabilities(), None if needs.looks else find_caller()
    for who in (None,) if caller is None else (caller, None):
        if (who is None and _is_evident(needs)) or _suffices(who, kept, needs):
            _drop(kept, who)
            _go_home(who)
            break
    else:
        kept |= _FILES
        _drop(kept)
    _check_threads(kept)


def keep_only(needs: Needs, *, confined: bool = True) -> None:
    """Give up all other rights, and what :mod:`explorer.confine` can deny. It can be said again, of less.

    :param confined: this process is the command, or one that it started or forked off
    :raises TargetError: as :func:`give_up_rights` does
    """
    give_up_rights(needs)
    if confined:
        confine(needs.directories() if needs.confines_files else None, needs.calls())


def become_caller(needs: Needs) -> bool:
    """Under sudo, pkexec or doas, before anything is read: become the user who called, if who can do the rest.

    The settings are then that user's. Also where it cannot be, whatever this process starts knows for whom it is.

    :returns: whether there is nothing left to give up: also where nobody called

    :raises TargetError: if not every thread gave its rights up
    """
    caller = find_caller()
    if caller is None:
        return True
    children_run_for_another_user()
    if not _suffices(caller, 0, needs):
        return False
    _drop(0, caller)
    _go_home(caller)
    _check_threads(0)
    return True


def drop_privileges(keep_files: bool = False, keep_signals: bool = False) -> None:
    """Give up every capability, for good; no program that is started from here on can have more.

    :param keep_files: keep what root needs to write a file where the user said
    :param keep_signals: keep what root needs to send a signal to another user's process
    :raises OSError: if the kernel refuses, which it does not
    :raises TargetError: if another thread keeps what this one gave up
    """
    kept = (_FILES if keep_files else 0) | (_SIGNALS if keep_signals else 0)
    _drop(kept)
    _check_threads(kept)


def _suffices(who: Caller | None, kept: int, needs: Needs) -> bool:
    """Whether a process with these rights can do the rest."""
    with signals_held():
        child = os.fork()
        if not child:
            code = 1
            try:
                _drop(kept, who)
                code = 0 if _can_do(needs) else 1
            finally:
                os._exit(code)  # whatever was raised: this process has no other business
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _can_do(needs: Needs) -> bool:
    return (
        all(os.access(path, os.R_OK) for path in _read_later(needs))
        and os.access(tempfile.gettempdir(), _USED)
        and all(_can_replace(path) for path in needs.writes)
    )


def _is_evident(needs: Needs) -> bool:
    """Whether uid 0 can do the rest without a capability by the modes alone: nothing has to be tried, then.

    Half of what giving up rights takes is the process that tries it.
    """
    return (
        not needs.writes
        and all(_lets_root(path, os.R_OK) for path in _read_later(needs))
        and _lets_root(tempfile.gettempdir(), _USED)
    )


def _lets_root(path: str | Path, rights: int) -> bool:
    """Whether a file, and every directory on the way to it, lets uid 0 in: as its owner, or as anybody."""
    if not os.access(path, rights):  # it is not there, or nobody may write to its file system
        return False
    where = Path(path).resolve()
    if not where.exists():  # it has a descriptor, and no name
        return False
    for part, wanted in ((where, rights), *((parent, os.X_OK) for parent in where.parents)):
        status = part.stat()
        if wanted & ~(status.st_mode >> 6 if status.st_uid == 0 else status.st_mode & status.st_mode >> 3):
            return False
    return True


def _read_later(needs: Needs) -> list[str | Path]:
    return [*needs.reads, *filter(None, map(_file_of, _PACKAGES))]


def _file_of(package: str) -> str | None:
    """Where a package is, that need not be imported yet; ``None`` where that is no file, or there is none."""
    if package in sys.modules:
        return getattr(sys.modules[package], "__file__", None)
    spec = find_spec(package)
    return None if spec is None or not spec.has_location else spec.origin


def _can_replace(path: Path) -> bool:
    """Whether a file can get this name, or what is there and is no file be written to."""
    with find_place(path) as place:
        return place.can_be_written()


def _drop(kept: int, who: Caller | None = None) -> None:
    """Of the calling thread, but for the user, which is that of all threads."""
    checked(libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0))
    if os.geteuid() == 0:
        for capability in range(_MAX_CAPABILITY + 1):
            bounded = libc().prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)
            if bounded < 0:  # this kernel has no more of them
                break
            if bounded and not kept >> capability & 1:
                # A container's root may lack CAP_SETPCAP; without it, no_new_privs does the same.
                libc().prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if who is not None:
        _become(who)
    checked(libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = _Header(_CAPABILITY_VERSION_3, 0)
    held = (_Data * 2)()
    checked(libc().capget(ctypes.byref(header), held))
    wanted = (_Data * 2)()
    for index in range(2):
        word = held[index].permitted & (kept >> 32 * index & 0xFFFFFFFF)
        wanted[index] = _Data(word, word, 0)
    checked(libc().capset(ctypes.byref(header), wanted))


def _go_home(who: Caller | None) -> None:
    """Settings and caches are that user's now."""
    if who is not None:
        with suppress(KeyError):  # sudo may give a number that nobody has here
            os.environ["HOME"] = pwd.getpwuid(who.uid).pw_dir


def _become(who: Caller) -> None:
    """Another user, for good. The kernel then forgets two things: which signal comes when the parent dies, and that
    this process leaves no core file."""
    parent = os.getppid()
    wanted = ctypes.c_int()
    checked(libc().prctl(_PR_GET_PDEATHSIG, ctypes.byref(wanted), 0, 0, 0))
    checked(libc().prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))  # they are given up one by one
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    checked(libc().prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    if wanted.value:
        checked(libc().prctl(_PR_SET_PDEATHSIG, wanted.value, 0, 0, 0))
        if os.getppid() != parent:
            os.kill(os.getpid(), wanted.value)


def _check_threads(kept: int) -> None:
    """:raises TargetError: if a thread of this process has more than this, or could get more"""
    end = time.monotonic() + _THREADS_END_S
    while (holders := _holders(kept)) and time.monotonic() < end:
        time.sleep(0.01)
    if holders:
        raise TargetError(
            f"{holders} of this process's threads still have root's rights, and would read the target with them; "
            "this should not be: report it"
        )


def _holders(kept: int) -> int:
    found = 0
    try:
        tasks = list(_TASKS.iterdir())
    except OSError as error:
        raise TargetError(
            f"{_TASKS}: {error.strerror}: whether rights have been given up cannot be seen; mount /proc"
        ) from error
    for task in tasks:
        try:
            with (task / "status").open(errors="replace") as file:
                lines = dict(
                    line.split(":", 1) for line in file.read(_MAX_STATUS).splitlines() if ":" in line
                )
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        held = int(lines["CapPrm"], 16) | int(lines["CapEff"], 16) | int(lines["CapInh"], 16)
        found += bool(held & ~kept) or lines["NoNewPrivs"].strip() != "1"
    return found
