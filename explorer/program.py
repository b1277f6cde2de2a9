"""How this program is started again: as a child that reads, or for a tab of a browser. Stands below all layers.

Where a child needs rights that the process which wants it has given up, another one starts it, which was forked off
before (:class:`Starter`)::

    screen           asks, in a message: words, and where output, errors and answers go
    └─ starter       has nothing open but its end of that line, and starts only what it was made for
       └─ warden     one for each child: says that it has started it, ends it when told to, or when nobody is left who
          │          could tell, and says its exit code
          └─ child   gives its rights up by itself, as soon as what it reads is open
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from explorer.keeper import stand_apart

__all__ = ("CODE", "GRANTED", "Starter", "end_starter", "find_starter", "inherited_fds", "own_command")

#: What a warden says first: the child has been started. Without it, it has not.
GRANTED = b"+"
#: And last: the exit code, as Python gives it.
CODE = struct.Struct("<i")
#: What a warden may be told: by any other word, or by the end of the line, it is told the first.
_ENDING = (signal.SIGTERM, signal.SIGKILL)
#: In the environment of a tab of a browser: the number of the descriptor at which the starter is asked.
_INHERITED = "NULLFS_EXPLORER_STARTER"
#: Standard output, standard error, answers.
_GIVEN = 3
_PEER = struct.Struct("3i")
_END_S, _LOOK_S = 2.0, 0.005

_starter: Starter | None = None


def own_command() -> list[str]:
    """The words in front of the arguments: of ``make standalone`` that one file, else Python's."""
    if getattr(sys, "frozen", False):
        return [sys.executable]
    # -P: a directory called explorer where the user happens to be is none of ours.
    return [sys.executable, "-P", "-m", "explorer"]


def find_starter() -> Starter | None:
    """Who starts children with rights that this process has not, if there is somebody."""
    global _starter
    if _starter is None and (said := os.environ.pop(_INHERITED, "")):
        _starter = Starter.inherited(said)
    return _starter


def end_starter() -> None:
    """Before this process ends."""
    global _starter
    if (starter := find_starter()) is not None:
        _starter = None
        starter.hang_up()


def inherited_fds() -> tuple[tuple[int, ...], dict[str, str]]:
    """For a child that is to ask the same starter: what it has to inherit, and to find in its environment."""
    starter = find_starter()
    if starter is None:
        return (), {}
    return (starter.fileno(),), {_INHERITED: str(starter.fileno())}


class Starter:
    """This process's end of the line. One process may ask for several children at a time; several may share it."""

    def __init__(self, line: socket.socket, pid: int = 0) -> None:
        self._line = line
        self._pid = pid

    @classmethod
    def begin(cls, commands: Iterable[Sequence[str]]) -> Self:
        """Fork it off, and have :func:`find_starter` find it. Only while this process has one thread.

        :param commands: arguments of this program: it starts nothing else, whatever it is asked
        """
        global _starter
        known = {_message(words): [*own_command(), *words] for words in commands}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if not pid:
            try:
                stand_apart(theirs.fileno())
                _serve(theirs, known)
            finally:
                os._exit(0)  # whatever was raised: this process has no other business
        theirs.close()
        _starter = found = cls(ours, pid)
        return found

    @classmethod
    def inherited(cls, said: str) -> Self | None:
        """One that root has forked off for whoever started this process. :param said: the descriptor's number"""
        if not (said.isascii() and said.isdecimal() and len(said) < 8):
            return None
        try:
            os.set_inheritable(int(said), False)
            line = socket.socket(fileno=int(said))
            peer = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        except OSError:  # nothing is open there, or no socket
            return None
        return cls(line) if _PEER.unpack(peer)[1] == 0 else None

    def fileno(self) -> int:
        return self._line.fileno()

    def ask(self, words: Sequence[str], output: int, errors: int) -> socket.socket | None:
        """Ask for a child. :returns: where it is answered: :data:`GRANTED`, and at the end :data:`CODE`; what is sent
        there is a signal's number. ``None``: there is nobody who could start it"""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                socket.send_fds(self._line, [_message(words)], [output, errors, theirs.fileno()])
            except OSError:  # it has been ended, or this is longer than anything it knows
                ours.close()
                return None
        return ours

    def hang_up(self) -> None:
        """Nobody asks any more: its children are ended, and so is it, unless another process shares the line."""
        self._line.close()
        deadline = time.monotonic() + _END_S
        while self._pid and os.waitpid(self._pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)


def _message(words: Sequence[str]) -> bytes:
    return json.dumps(list(words)).encode()


def _serve(line: socket.socket, known: Mapping[bytes, Sequence[str]]) -> None:
    """The starter: until nobody is left who could ask."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # wardens end by themselves
    longest = max(map(len, known), default=0) + 1
    while True:
        message, given, _, _ = socket.recv_fds(line, longest, _GIVEN)
        if not message:
            return
        try:
            if message in known and len(given) == _GIVEN and not os.fork():
                line.close()
                _watch_over(known[message], *given)
                os._exit(0)
        finally:
            for each in given:
                os.close(each)


def _watch_over(command: Sequence[str], output: int, errors: int, answers: int) -> None:
    """The warden."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with socket.socket(fileno=answers) as line:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, process_group=0
        )
        for each in (output, errors):
            os.close(each)
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        poll.register(line, select.POLLIN)
        _say(line, GRANTED)
        while child.poll() is None:
            for ready, _ in poll.poll():
                if ready == woken:
                    os.read(woken, _PEER.size)
                    continue
                word = line.recv(1)
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, _ENDING[bool(word) and word[0] == signal.SIGKILL])
                if not word:
                    poll.unregister(line)
        _say(line, CODE.pack(child.returncode))


def _say(line: socket.socket, word: bytes) -> None:
    with suppress(BrokenPipeError):  # whoever asked has ended: that is seen at the other end of the line
        line.send(word)
