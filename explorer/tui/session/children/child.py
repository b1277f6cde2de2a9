"""Reads a target in a child process, so that neither a fault nor a hang of the reader takes the screen with it.

The child is this program's own ``snapshot`` command; :mod:`explorer.wire` knows what it says.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from explorer.codec import SnapshotError, SnapshotStream
from explorer.model import CaptureError, Snapshot, escape_text
from explorer.program import own_command
from explorer.wire import (
    Crashed,
    ExitCode,
    Progress,
    Words,
    parse_message,
    reader_arguments,
    signal_of,
)

from .process import Process, ask_for_process, start_process

__all__ = ("Child", "Reader", "ReaderFailure", "Reading", "line_batches", "run_doctor")

_CHUNK = 1 << 18
#: Exit codes with which a snapshot has been written, if not of everything.
_WITH_SNAPSHOT = (ExitCode.OK, ExitCode.ERRORS)
_MAX_LINE = 16 << 20
_MAX_ERRORS = 50
_DOCTOR_S = 30.0


class ReaderFailure(Exception):
    """The child gave no snapshot; the message is one escaped line."""

    def __init__(self, reason: str, exit_code: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of it."""

    snapshot: Snapshot
    partial: str | None = None
    """Why values are missing, in one escaped line; ``None``: nothing is."""
    crashed: bool = False
    """The child did not come to its end: this is what there was by then, and not what another child will give."""


class ShowProgress(Protocol):
    """What the child is doing; ``total`` is ``None`` where it is not known."""

    def __call__(self, what: str, done: int, total: int | None) -> None: ...


def child_command(arguments: Sequence[str]) -> list[str]:
    """The command line of the child."""
    return [*own_command(), *arguments]


class Child:
    """This program's own command in a process of its own; :meth:`cancel` ends it at any time."""

    GRACE_S = 2.0
    """How long it may take to end when it is asked to."""

    def __init__(self, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        """:param prefix: what runs it, such as ``sudo``"""
        self._arguments, self._prefix = tuple(arguments), tuple(prefix)
        self._process: Process | None = None
        self._cancelled = False
        self._crashed = False
        self._errors: deque[str] = deque(maxlen=_MAX_ERRORS)

    async def _start(self) -> Process:
        """:raises ReaderFailure: if it cannot be started"""
        try:
            self._process = process = await _process_of(self._arguments, self._prefix)
        except OSError as error:
            raise ReaderFailure(f"the reader cannot be started: {error.strerror}") from error
        return process

    async def _follow_errors(self, stderr: asyncio.StreamReader, progress: ShowProgress) -> None:
        async for lines in line_batches(stderr):
            for line in lines:
                self._take_error(line.decode("utf-8", "surrogateescape"), progress)

    def _take_error(self, text: str, progress: ShowProgress) -> None:
        match parse_message(text):
            case Progress(what, done, total):
                progress(escape_text(what), done, total)
            case Crashed():
                self._crashed = True
            case Words(said):
                self._errors.append(escape_text(said))

    async def cancel(self) -> None:
        """End the child, and all that it started."""
        self._cancelled = True
        await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.has_ended:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            await process.tell(number)
            try:
                await asyncio.wait_for(process.wait(), self.GRACE_S)
            except TimeoutError:
                continue
            return


async def _process_of(arguments: Sequence[str], prefix: Sequence[str] = ()) -> Process:
    """:raises OSError: if it cannot be started"""
    asked = None if prefix else await ask_for_process(arguments)
    return asked or await start_process(child_command(arguments), prefix)


class Reader(Child):
    """One reading of one target."""

    def __init__(self, arguments: Sequence[str], prefix: Sequence[str] = ()) -> None:
        super().__init__(reader_arguments(arguments), prefix)

    async def read(self, progress: ShowProgress) -> Reading:
        """Run the child to its end.

        :raises ReaderFailure: if it gives no snapshot, for whatever reason
        """
        process = await self._start()
        stdout = process.stdout
        stream = SnapshotStream("the reader's output")
        errors = asyncio.create_task(self._follow_errors(process.stderr, progress))
        broken: SnapshotError | None = None
        try:
            try:
                await _feed(stdout, stream, progress)
            except SnapshotError as error:
                if not stdout.at_eof():
                    raise
                broken = error  # its last line: cut off, if it died while it wrote that
            await errors
            code = await process.wait()
        except SnapshotError as error:
            raise ReaderFailure(escape_text(str(error))) from error
        finally:
            errors.cancel()
            await self._end()
        if self._cancelled:
            raise ReaderFailure("stopped, as you asked")
        died = self._death(code, stream)
        if died is not None:
            return await self._what_there_is(died, stream)
        if broken is not None:
            raise ReaderFailure(escape_text(str(broken)), code) from broken
        return await self._conclude(code, stream)

    def _death(self, code: int, stream: SnapshotStream) -> str | None:
        """How the child ended before its work had, if it did, and if some tasks had arrived.

        :raises ReaderFailure: if none had
        """
        name = signal_of(code)
        if name is None and (code in _WITH_SNAPSHOT or not stream.tasks):
            return None
        how = f"was ended by signal {name}" if name else f"ended with code {code}"
        if not stream.tasks:
            raise ReaderFailure(f"the reader {how}", code)
        return f"the reader {how} after {stream.tasks} tasks"

    async def _what_there_is(self, why: str, stream: SnapshotStream) -> Reading:
        """What has arrived is shown, and says of itself that there is more."""
        snapshot = await asyncio.to_thread(stream.finish)
        error = CaptureError(where="capture", what="the rest", why=f"{why}: {stream.incomplete()}")
        snapshot.errors.insert(0, error)
        return Reading(snapshot, why, crashed=True)

    async def _conclude(self, code: int, stream: SnapshotStream) -> Reading:
        reason = self._errors[-1] if self._errors else ""
        if code not in _WITH_SNAPSHOT:
            raise ReaderFailure(reason or f"the reader ended with code {code} and said nothing", code)
        try:
            snapshot = await asyncio.to_thread(stream.finish)
        except SnapshotError as error:
            raise ReaderFailure(escape_text(str(error)), code) from error
        if code != ExitCode.ERRORS:
            return Reading(snapshot)
        return Reading(snapshot, reason or "values could not be read", self._crashed)


async def line_batches(reader: asyncio.StreamReader) -> AsyncIterator[list[bytes]]:
    """Whole lines, as many as have arrived. :raises SnapshotError: for a line without end"""
    rest = b""
    while chunk := await reader.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE:
            raise SnapshotError("the reader's output: a line without end")
        if lines:
            yield lines
    if rest:
        yield [rest]


async def _feed(stdout: asyncio.StreamReader, stream: SnapshotStream, progress: ShowProgress) -> None:
    """Parse off the UI's thread, and say how far it is."""
    async for lines in line_batches(stdout):
        await asyncio.to_thread(stream.feed, lines)
        progress("tasks received", stream.tasks, None)


async def run_doctor() -> list[str]:
    """What ``doctor`` says about this machine, line by line, escaped; it runs in a child, too."""
    process = await _process_of(["doctor"])
    try:
        streams = asyncio.gather(process.stdout.read(), process.stderr.read(), process.wait())
        output, errors, _ = await asyncio.wait_for(streams, _DOCTOR_S)
    except TimeoutError:
        await process.tell(signal.SIGKILL)
        return ["doctor did not end"]
    return [escape_text(line) for line in (output + errors).decode("utf-8", "surrogateescape").splitlines()]
