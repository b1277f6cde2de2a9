"""A crash in C (drgn, libkdumpfile) ends the process: two others, forked off in time, keep what can be kept.

So may a plugin, by ``os._exit(0)``: a reader that has not said which exit code it ends with has ended like one that
crashed.

::

    watcher      forked from at once, before anything of the target is touched; waits, without any rights, or with that
                 to send a signal
    └─ reader    reads the kernel, prints, writes: everything; ends normally, and the watcher with its exit code
       └─ keeper forked off when tasks and fs_structs are records; waits with them, in memory that both share.
                 It ends as soon as the capture has. If the reader crashes before that, the keeper goes on in its
                 place, with what there was, and touches the target no more.

The watcher waits for all of them: in a container PID 1 may be a program that reaps nobody.

Copies of a process are made in this order so that nothing is written or encoded twice, and that drgn's threads, which
a forked process has not, are never needed in one.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct
import sys
import time
from contextlib import suppress

from explorer.syscalls import end_with
from explorer.targets.errors import TargetError
from explorer.targets.privilege import drop_privileges

__all__ = ("CrashGuard", "ReaderCrashedError", "fork_reader")

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
#: Somebody wanted it to end, or set a limit.
_WANTED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGPIPE,
    signal.SIGALRM,
    signal.SIGXCPU,
    signal.SIGXFSZ,
}
#: What a watcher waits for; the others end it, or are passed on.
_ASKED = {signal.SIGINT, signal.SIGQUIT}
_HEARD = {*_ASKED, signal.SIGCHLD}
_TOLD_S = 0.2
_GO_ON = b"\0"
_PAGE = 4096
#: What the reader shares with the watcher: the keeper's pid (0: none yet, -1: none any more), and what it is doing.
_HEAD = struct.Struct("<i")
#: Behind that, at ``_DOING``: the pid of the keeper that was last forked off and is still to be reaped, or 0.
_DOING = 256
#: Behind that: the exit code that the reader has said it ends with, and one; 0: it has said none.
_ENDS = _DOING + _HEAD.size
#: Behind that: what is left if the reader crashes, in words; empty: nothing is.
_LEFT = 512
#: To the keeper, in place of a signal's number: none ended the reader.
_ITSELF = 255


class ReaderCrashedError(TargetError):
    """A signal ended who read, and nobody could go on."""

    def __init__(self, words: str, signal: str) -> None:
        super().__init__(words)
        self.signal = signal
        """Its name; ``none``: it ended itself."""


class CrashGuard:
    """The reader's side. Made by :func:`fork_reader`; one without a watcher does nothing."""

    def __init__(self, page: mmap.mmap | None = None, pipe: tuple[int, int] = (-1, -1)) -> None:
        self._page = page
        self._pipe = pipe
        self._keeper = self._last = 0
        self.crashed: str | None = None
        """In the keeper that goes on: the name of the signal that ended the reader; ``none``: it ended itself."""

    def begin(self) -> None:
        """A target is about to be opened; it may be the second."""
        if self._page is not None:
            _HEAD.pack_into(self._page, 0, 0)
        self.doing("it opened the target")

    def doing(self, what: str) -> None:
        """What is being done, for the message about a crash in it."""
        self._say(what, _HEAD.size, _DOING)

    def leaves(self, what: str) -> None:
        """What there will be if this process crashes from here on, for the message about that."""
        self._say(what, _LEFT, _PAGE)

    def _say(self, what: str, start: int, end: int) -> None:
        if self._page is not None:
            said = what.encode("utf-8", "surrogateescape")
            self._page[start:end] = said[: end - start].ljust(end - start, b"\0")

    def ends(self, code: int) -> None:
        """All is done: this process ends now, with this exit code."""
        if self._page is not None:
            _HEAD.pack_into(self._page, _ENDS, code + 1)

    def keep(self) -> str | None:
        """Fork the keeper off. ``None``: go on. Otherwise the reader has crashed, and this says how, and in what."""
        if self._page is None:
            return None
        if self._last:
            _HEAD.pack_into(self._page, _DOING, 0)
            os.waitpid(self._last, 0)
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self._keeper = self._last = pid
            _HEAD.pack_into(self._page, _DOING, pid)
            _HEAD.pack_into(self._page, 0, pid)
            return None
        return self._wait_for_crash(self._page)

    def _wait_for_crash(self, page: mmap.mmap) -> str:
        before = [
            (number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGQUIT)
        ]
        os.close(self._pipe[1])
        said = os.read(self._pipe[0], 1)
        if not said or said == _GO_ON:  # nobody is left, or nothing is left to be kept
            os._exit(0)
        for number, handler in before:
            signal.signal(number, handler)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        name = _name_of(said[0])
        doing = _doing(page)
        self.crashed, self._last = name, 0
        # The other end of the same pipe: this process may read a second target, and have a keeper of its own.
        self._pipe = (self._pipe[0], os.open(f"/proc/self/fd/{self._pipe[0]}", os.O_WRONLY | os.O_CLOEXEC))
        return f"the reader {_how(said[0])}, {doing}"

    def release(self) -> None:
        """The capture has ended, well or not: nothing is to be kept any more."""
        self.doing("it worked on what it had read")
        if self._keeper:
            assert self._page is not None
            _HEAD.pack_into(self._page, 0, -1)
            os.write(self._pipe[1], _GO_ON)
            self._keeper = 0  # the watcher waits for it: it takes some milliseconds to give its memory back


def fork_reader(target: str, *, passes_on: bool = False) -> CrashGuard:
    """Fork. Returns in the reader; the watcher ends with the exit code of whoever ends last.

    :param passes_on: a signal ends the reader in good order, though it is another user's by then: the watcher keeps the
        right to send it one. Else it ends itself, and the reader with it.

    :raises ReaderCrashedError: in the watcher, if the reader crashed and there is no keeper to go on
    """
    sys.stdout.flush()
    sys.stderr.flush()
    page = mmap.mmap(-1, _PAGE)
    pipe = os.pipe()
    # The keeper opens it once more, by then perhaps as another user; nobody else can name it.
    os.fchmod(pipe[0], 0o666)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # the keeper becomes the watcher's child when the reader is gone
    watcher = os.getpid()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    pid = os.fork()
    if not pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        end_with(watcher)
        return CrashGuard(page, pipe)
    os.close(pipe[0])
    watched = _Watched(pid, page, pipe[1])
    with suppress(OSError):  # what it cannot give up it does not use either
        drop_privileges(keep_signals=passes_on)
    number = watched.wait()
    (keeper,) = _HEAD.unpack_from(page)
    while number not in _WANTED and keeper > 0:
        _HEAD.pack_into(page, 0, -1)
        _HEAD.pack_into(page, _DOING, 0)  # it is the reader now
        watched.pid = keeper
        os.write(pipe[1], bytes([number]))
        number = watched.wait()
        (keeper,) = _HEAD.unpack_from(page)
    watched.reap_keeper()
    if number in _WANTED:
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(watcher, number)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    nothing = "its output is not complete" if keeper else "there was nothing to keep, and nothing is written"
    left = _words(page, _LEFT, _PAGE) or nothing
    raise ReaderCrashedError(f"{target}: the reader {_how(number)}, {_doing(page)}: {left}", _name_of(number))


class _Watched:
    """Who reads: what ends the watcher alone ends it first, so that there is somebody to wait for it."""

    def __init__(self, pid: int, page: mmap.mmap, pipe: int) -> None:
        self.pid = pid
        self._page, self._pipe = page, pipe
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, frame: object) -> None:
        try:
            if self.pid:
                os.kill(self.pid, number)
        except PermissionError:  # it has become another user, under sudo: it ends because we do
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def wait(self) -> int:
        """The signal that ended it, or :data:`_ITSELF`; ends with its exit code, with nobody left, if it said that."""
        while not self._has_ended():
            told = signal.sigwaitinfo(_HEARD)
            if told.si_signo in _ASKED and told.si_code <= 0 and not self._ends_by_itself():
                self._pass_on(told.si_signo, None)
        pid, self.pid = self.pid, 0
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code < 0:
            return -code
        (said,) = _HEAD.unpack_from(self._page, _ENDS)
        if not said:
            return _ITSELF
        self.reap_keeper()
        os._exit(code or said - 1)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _ends_by_itself(self) -> bool:
        """Whether the reader was told, too: what a terminal says, it says to both; ``kill`` may say it to this one."""
        deadline = time.monotonic() + _TOLD_S
        while not (ended := self._has_ended()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return ended

    def reap_keeper(self) -> None:
        """The reader is gone: what it left is our child, has nothing more to do, and is waited for by nobody else."""
        (keeper,) = _HEAD.unpack_from(self._page, _DOING)
        if keeper:
            with suppress(BrokenPipeError):  # it has ended, and only has to be waited for
                os.write(self._pipe, _GO_ON)
            with suppress(ChildProcessError):  # the reader has waited for it
                os.waitpid(keeper, 0)


def _doing(page: mmap.mmap) -> str:
    return f"while {_words(page, _HEAD.size, _DOING)}"


def _words(page: mmap.mmap, start: int, end: int) -> str:
    return page[start:end].rstrip(b"\0").decode("utf-8", "surrogateescape")


def _how(number: int) -> str:
    return "has ended itself" if number == _ITSELF else f"was ended by signal {_name_of(number)}"


def _name_of(number: int) -> str:
    if number == _ITSELF:
        return "none"
    return signal.Signals(number).name if number in set(signal.Signals) else str(number)


def _prctl(option: int, value: int) -> None:
    """Without either of these a child may outlive us, or a keeper be lost: neither is worth failing for."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
