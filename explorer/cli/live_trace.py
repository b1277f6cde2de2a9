"""The running kernel's lookups, for the command ``trace``: from root's rights to the last lookup."""

from __future__ import annotations

import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from explorer.wire import PROGRAM

from .ending import told_by_signals
from .process import ExitCode, is_program, keep_only

if TYPE_CHECKING:
    from explorer.model import Lookup, TraceEnd, TraceHeader
    from explorer.plugin import PluginSet
    from explorer.tracing import TraceOptions, Tracer

__all__ = ("LiveTrace", "attached_tracer", "clean_up", "keep_only_of_trace", "live_trace", "write_lines")


@dataclass(slots=True)
class LiveTrace:
    """A trace that goes on until its time is over, a signal comes, or :meth:`stop`."""

    header: TraceHeader
    tracer: Tracer
    deadline: float | None
    """Of ``time.monotonic()``."""
    reason: Literal["done", "until", "interrupted"] = "done"

    def lookups(self) -> Iterator[Lookup]:
        """As they end."""
        for lookup in self.tracer.lookups():
            if lookup is not None:
                yield lookup
            elif self.deadline is not None and time.monotonic() >= self.deadline:
                self.tracer.stop()

    def stop(self) -> None:
        """What was waited for has come."""
        self.reason = "until"
        self.tracer.stop()

    def interrupt(self) -> None:
        """Ctrl-C and the like."""
        self.reason = "interrupted"
        self.tracer.stop()

    def end(self) -> TraceEnd:
        return self.tracer.end(self.reason)


@contextmanager
def attached_tracer(options: TraceOptions | None = None) -> Iterator[Tracer]:
    """A tracer that has all open; whatever ends the block, nothing of it is left in the kernel. What was found of an
    earlier trace, and what could not be removed, is said at the end, on stderr.

    :raises TargetError: if this machine cannot be traced, with what to do about it
    """
    from explorer.model import escape_text
    from explorer.tracing import Tracer

    tracer = Tracer(options)
    try:
        with tracer:
            tracer.attach()
            yield tracer
    finally:
        for note in tracer.notes:
            click.echo(f"{PROGRAM}: {escape_text(note)}", err=True)


@contextmanager
def live_trace(
    users: Sequence[str], seconds: float | None, output: Path | None, plugins: PluginSet
) -> Iterator[LiveTrace]:
    """Give up rights, load the plugins, and begin a trace. :raises TargetError: as :func:`attached_tracer` does"""
    from explorer.tracing import TraceOptions

    with ExitStack() as stack:
        tracer = stack.enter_context(attached_tracer(TraceOptions(users=tuple(users))))
        keep_only_of_trace(plugins.files, output)
        _ = plugins.loaded
        header = tracer.begin()
        trace = LiveTrace(header, tracer, None if seconds is None else time.monotonic() + seconds)
        stack.enter_context(told_by_signals(trace.interrupt, for_good=is_program()))
        yield trace


def keep_only_of_trace(plugins: tuple[Path, ...] = (), output: Path | None = None) -> None:
    """All is open: what is left is to read it. :raises TargetError: if rights cannot be given up"""
    from explorer.targets import Needs

    keep_only(Needs(plugins, () if output is None else (output,), caches=True))


def write_lines(tracer: Tracer, out: BinaryIO) -> None:
    """The trace as lines, from its header to its end, which comes with SIGTERM.

    :raises BrokenPipeError: once nobody reads them, also where nothing is looked up, and so nothing is written
    """
    from explorer.codec import encode_trace_line

    signal.signal(signal.SIGTERM, lambda *_: tracer.stop())
    out.write(encode_trace_line(tracer.begin()))
    reader = select.poll()
    reader.register(out.fileno(), 0)  # POLLERR, which comes unasked for, says that the other end is closed
    for lookup in tracer.lookups():
        if lookup is not None:
            out.write(encode_trace_line(lookup))
        else:
            out.flush()
            if any(event & select.POLLERR for _, event in reader.poll(0)):
                raise BrokenPipeError
    out.write(encode_trace_line(tracer.end("interrupted")))
    out.flush()


def clean_up() -> int:
    """Remove what traces that were killed have left. Returns the exit code."""
    from explorer.model import escape_text
    from explorer.tracing import find_tracefs, remove_stale

    removed, left = remove_stale(find_tracefs())
    for name in removed:
        click.echo(f"removed: {escape_text(name)}")
    for what in left:
        click.echo(f"{PROGRAM}: could not be removed: {escape_text(what)}", err=True)
    if not removed and not left:
        click.echo("nothing to remove: no trace that was killed has left anything")
    return ExitCode.ERRORS if left else ExitCode.OK
