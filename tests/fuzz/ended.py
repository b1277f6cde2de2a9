"""A case runs in a process of its own, with limits, and is judged by what it printed and how it ended."""

from __future__ import annotations

import gc
import io
import os
import re
import resource
import select
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from explorer.codec.snapshots import SnapshotError, parse_snapshot
from explorer.model import Snapshot
from tests.holes import differences

__all__ = ("Ended", "Prepare")

DEADLINE_S = 10
#: Of wall time: the machine may be busy with something else. A case that sleeps ends here.
_WALL_S = 60
MEMORY = 1 << 30
#: Fault, or wrong usage: neither is an answer to damage, but for an option's file.
_CODES = {0: "whole", 1: "whole", 3: "refused", 4: "honest errors"}
_OPTION_REFUSED = 2
#: The command did not open the kernel whose memory was damaged: the case says nothing.
_UNOPENED = 97
#: Run in the child before the command; gives what the command has to open, until it has.
Prepare = Callable[[], Sequence[object]]


class Ended:
    """A case that was run: its output, its end, its cost."""

    def __init__(self, directory: Path, command: list[str], prepare: Prepare, end_to_end: bool) -> None:
        self._command = command
        self._out, self._err = directory / "stdout", directory / "stderr"
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._child(prepare, end_to_end)
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            # In parts: while the campaign is stopped (SIGSTOP), no time passes for the case either.
            self._hung = not any(poll.poll(1000) for _ in range(_WALL_S))
            if self._hung:
                os.kill(pid, signal.SIGKILL)
            _, self._status, usage = os.wait4(pid, 0)
        finally:
            os.close(descriptor)
        self.wall = time.monotonic() - started
        self.seconds = usage.ru_utime + usage.ru_stime
        self.rss = usage.ru_maxrss * 1024
        self.out, self.err = self._out.read_bytes(), self._err.read_bytes()

    def _child(self, prepare: Prepare, end_to_end: bool) -> None:
        """Does not return."""
        code = 99
        unopened: Sequence[object] = ()
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            for path, number in ((self._out, 1), (self._err, 2)):
                os.dup2(os.open(path, flags, 0o600), number)
            resource.setrlimit(resource.RLIMIT_CPU, (DEADLINE_S, DEADLINE_S + 1))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            if end_to_end:
                os.execv(sys.executable, [sys.executable, "-m", "explorer", *self._command])
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=False)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace")
            gc.disable()
            unopened = prepare()  # what no command opens is fed to its reader there, and does not come back
            from explorer.cli.command import main

            main(self._command)
            code = 98
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
            code = _UNOPENED if unopened else code
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - this is the end of a child: it is judged by what it printed
            import traceback

            os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
        finally:
            os._exit(code)

    def judge(self) -> tuple[str | None, str]:
        """(what is wrong or ``None``, name of the outcome)"""
        if self._hung:
            return f"no end after {_WALL_S} s", "hang"
        if os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
            what = "hang" if number == signal.SIGXCPU else "signal"
            return f"ended by {signal.Signals(number).name}", what
        if self.rss > MEMORY:
            return f"{self.rss >> 20} MB of memory", "memory"
        code = os.WEXITSTATUS(self._status)
        text = self.err.decode("utf-8", "backslashreplace")
        if "the reader was ended by signal" in text:  # its watcher lives, and says so
            return f"a crash: {text.strip()[-500:]}", "signal"
        if "Traceback" in text or "a fault of this program" in text:
            return f"a fault: {text.strip()[-3000:]}", "fault"
        if code == _OPTION_REFUSED and "--baseline" in self._command:
            sound = len(text.splitlines()) == 1 and not self.out and "--baseline: " in text
            return (None if sound else f"exit code 2: {text.strip()[-500:]}"), "refused"
        if code not in _CODES:
            return f"exit code {code}: {text.strip()[-500:]}", "exit code"
        return self._judge_output(code, text)

    def compare(self, bases: list[Snapshot]) -> str | None:
        """What the snapshot on stdout says differently than that of the kernel it is of; ``None``: nothing."""
        if os.WEXITSTATUS(self._status) not in (0, 4):
            return None
        snapshot = parse_snapshot(self.out, "the output")
        whole = next(base for base in bases if base.kernel.release == snapshot.kernel.release)
        found = differences(whole, snapshot)
        return f"{len(found)} values differ from those of the whole kernel: {found[:5]}" if found else None

    def _says_on_stdout(self) -> bool:
        """A table of lookups says itself what a trace lacks."""
        said = ("Lost: ", "was cut off", "before it was told to", "unknown")
        return self._command[0] == "trace" and any(words.encode() in self.out for words in said)

    def _judge_output(self, code: int, text: str) -> tuple[str | None, str]:
        lines = [line for line in text.splitlines() if not line.startswith("progress\t")]
        control = _control(self.out.decode("utf-8", "surrogateescape")) or _control("\n".join(lines))
        if control is not None:
            return f"control character {control!r} in the output", "escape"
        if code == 3 and (len(lines) != 1 or self.out):
            return f"exit code 3 with {len(lines)} lines and {len(self.out)} bytes of output", "words"
        if code == 4 and not lines and not self._says_on_stdout():
            return "exit code 4 and not a word", "words"
        if code == 4 and "plugin" in text and re.search(r"\b[A-Z]\w*Error: ", text):
            return None, "plugin raised"
        if code == 3 and "out of memory" in text:
            return None, "out of memory"
        if code in (0, 4) and self._command[:3] == ["snapshot", "--format", "json"]:
            try:
                parse_snapshot(self.out, "the output")
            except SnapshotError as error:
                return f"the output is no snapshot: {error}", "output"
        return None, _CODES[code]


def _control(text: str) -> str | None:
    """The first character that no output may have: control, bidi, or a byte that is not UTF-8."""
    if text.isascii() and text.replace("\n", "").replace("\r\n", "\n").isprintable():
        return None
    for char in text:
        if char not in "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            if char == "\r":
                continue  # RFC 4180 ends a line of CSV with it
            return char
    return None
