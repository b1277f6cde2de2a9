"""Path lookups, of a saved trace or of the running kernel as they come: read, judged and kept, the newest at least.

The kernel is traced by a child, as it is read by one: :mod:`explorer.wire` has its command line. A thread parses what
it writes. Where that is slower than the kernel, the pipe fills, the child waits, and the kernel counts what it drops.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from explorer.analysis.lookups import Judge, lost_words
from explorer.codec import SnapshotError, TraceError, decode_trace_line, load_trace
from explorer.model import Lookup, TraceEnd, TraceFrame, TraceHeader, escape_text
from explorer.naming import count, utc_of
from explorer.tui.views import LookupRow, row_maker
from explorer.wire import ExitCode, signal_of, trace_arguments

from .background import give_way, in_background
from .children import Child, ReaderFailure, line_batches
from .host import Host
from .source import Source

__all__ = ("MOST_LOOKUPS", "TraceReader", "Tracing")

#: Of a kernel that runs, the last so many are kept, and no more than so many bytes of lines.
MOST_LOOKUPS = 20_000
_MOST_BYTES = 64 << 20
#: Lines that are parsed between two turns of the screen.
_BATCH = 500
_MOST_STACKS = 10_000

Lines = Sequence[bytes]


class TraceReader(Child):
    """The child that traces the running kernel."""

    #: It takes its events out of the kernel before it ends.
    GRACE_S = 10.0

    def __init__(self, prefix: Sequence[str] = ()) -> None:
        super().__init__(trace_arguments(), prefix)

    async def follow(self, take: Callable[[Lines], object]) -> None:
        """Run the child to its end, which comes with :meth:`cancel`.

        :param take: called in a thread with whole lines. :raises TraceError: if they are none of a trace
        :raises ReaderFailure: if it ends by itself, or with an error
        """
        process = await self._start()
        if self._cancelled:  # before there was anything to end
            await self._end()
        errors = asyncio.create_task(self._follow_errors(process.stderr, lambda what, done, total: None))
        try:
            async for lines in line_batches(process.stdout):
                for start in range(0, len(lines), _BATCH):
                    await asyncio.to_thread(take, lines[start : start + _BATCH])
            await errors
            code = await process.wait()
        except (TraceError, SnapshotError) as error:
            if not self._cancelled:
                raise ReaderFailure(escape_text(str(error))) from error
            return
        finally:
            errors.cancel()
            await self._end()
        if not self._cancelled and code != ExitCode.OK:
            name = signal_of(code)
            how = f"was ended by signal {name}" if name else f"ended with code {code} and said nothing"
            raise ReaderFailure(self._errors[-1] if self._errors and not name else f"the tracer {how}", code)


class Tracing:
    """The lookups, and how the trace goes. There is nothing before a trace is opened or begun."""

    def __init__(self, host: Host, source: Source) -> None:
        self._host, self._source = host, source
        self.header: TraceHeader | None = None
        self.end: TraceEnd | None = None
        self.name = ""
        """Of the file; escaped. Empty: the running kernel."""
        self.rows: deque[LookupRow] = deque()
        """Newest last."""
        self.added = self.bad = 0
        """How many there ever were, and how many of them fail in nullfs, or will."""
        self.changes = 0
        """Counts what there is to show anew."""
        self.problem = ""
        """Why there is no trace, or no more of it; escaped."""
        self._judge: Judge | None = None
        self._reader: TraceReader | None = None
        self._is_wanted = False
        self._stacks: dict[tuple[int, ...], list[TraceFrame]] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        """Of the rows: a thread adds, the screen reads."""

    # -- what there is -----------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether there is anything to show: of a trace that was begun, also why nothing came of it."""
        return self.header is not None or self._is_wanted or bool(self.problem)

    @property
    def is_file(self) -> bool:
        return bool(self.name)

    @property
    def is_running(self) -> bool:
        return self._is_wanted

    @property
    def dropped(self) -> int:
        """Lookups that there was no room for."""
        with self._lock:
            return self.added - len(self.rows)

    @property
    def fails_now(self) -> bool:
        """Whether lookups fail in nullfs on this kernel; else they will on 7.3."""
        return self._judge is None or self._judge.isolates

    def newest_first(self) -> list[LookupRow]:
        with self._lock:
            return list(reversed(self.rows))

    @property
    def failed_line(self) -> str:
        """``3 lookups failed in nullfs since 01:42 UTC``; empty where nothing is traced now."""
        if not self.is_running or self.header is None:
            return ""
        since = _minute(self.header.began)
        number = count(self.bad, "lookup") if self.bad else "no lookup"
        if self.fails_now:
            return f"{number} failed in nullfs{since}"
        return f"{number}{since} would fail on 7.3"

    def say_lost(self) -> None:
        """Say what the trace does not have, if it is not whole."""
        lost = lost_words(self.end)
        if lost:
            self._host.say(escape_text(" ".join(lost)))

    # -- a file ------------------------------------------------------------------------------------------------

    async def open(self, path: Path) -> str | None:
        """Show a saved trace. Why it cannot be shown, escaped; ``None``: it is."""
        self._forget()
        try:
            await asyncio.to_thread(self._load, path)
        except TraceError as error:
            self._forget()
            return escape_text(str(error))
        self.name = escape_text(path.name)
        self.changes += 1
        return None

    def _load(self, path: Path) -> None:
        with in_background():
            trace = load_trace(path)
            self._begin(trace.header)
            for start in range(0, len(trace.lookups), _BATCH):
                give_way()
                for lookup in trace.lookups[start : start + _BATCH]:
                    self._add(lookup, 0)
            self.end = trace.end

    # -- the running kernel --------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Trace the running kernel from now on, if it is not traced."""
        if not self._is_wanted:
            self._forget()
            self._is_wanted = True
            self._reader = TraceReader(self._source.target.prefix)
            self._host.work(self._follow(self._reader))

    async def _follow(self, reader: TraceReader) -> None:
        try:
            await reader.follow(self._take)
            self.say_lost()
        except ReaderFailure as error:
            self.problem = error.reason
            self._host.say(f"The trace has ended: {error.reason}")
        finally:
            self._is_wanted, self._reader = False, None
            self.changes += 1
            self._host.catch_up()

    async def stop(self) -> None:
        """End the trace; what it has seen stays."""
        if self._reader is not None:
            await self._reader.cancel()

    def _forget(self) -> None:
        self.header = self.end = self._judge = None
        self.name = self.problem = ""
        self.rows = deque()
        self.added = self.bad = self._bytes = 0
        self._stacks.clear()
        self.changes += 1

    # -- lookups -----------------------------------------------------------------------------------------------

    def _take(self, lines: Lines) -> None:
        """Lines of the child; in a thread. :raises TraceError: if they are none of a trace"""
        with in_background():
            for line in lines:
                record = decode_trace_line(line, "the tracer's output")
                if isinstance(record, TraceHeader):
                    self._begin(record)
                elif isinstance(record, TraceEnd):
                    self.end = record
                else:
                    self._add(record, len(line))
        self.changes += 1

    def _begin(self, header: TraceHeader) -> None:
        if self.header is not None:
            raise TraceError("the tracer's output: a second header")
        self._judge = Judge(header, self._source.session.plugins.plugins)
        self._make_row = row_maker(header)
        self.header = header

    def _add(self, lookup: Lookup, size: int) -> None:
        if self._judge is None:
            raise TraceError("the tracer's output: a lookup before the header")
        if lookup.stack:
            # A machine has few roads that lead to a lookup: each is kept once.
            key = tuple(frame.address for frame in lookup.stack)
            if len(self._stacks) >= _MOST_STACKS:
                self._stacks.clear()
            same = self._stacks.setdefault(key, lookup.stack)
            if same is not lookup.stack and same == lookup.stack:
                lookup.stack = same
        row = self._make_row(self.added, self._judge.judge(lookup), size)
        with self._lock:
            self.rows.append(row)
            self.added += 1
            self.bad += row.judged.meaning.is_bad
            self._bytes += size
            while size and (len(self.rows) > MOST_LOOKUPS or self._bytes > _MOST_BYTES):
                self._bytes -= self.rows.popleft().size


def _minute(began: str) -> str:
    """``since 01:42 UTC``, of ISO 8601; what is none is left out."""
    when = utc_of(began)
    return "" if when is None else f" since {when:%H:%M} UTC"
