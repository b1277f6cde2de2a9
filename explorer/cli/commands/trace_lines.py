"""``trace-lines``: the screen runs it as a child. Lookups of the running kernel, a line each, as they end."""

from __future__ import annotations

import select
import signal
import sys
from typing import TYPE_CHECKING, BinaryIO

import click

if TYPE_CHECKING:
    from explorer.tracing import Tracer

__all__ = ("trace_lines_command",)


@click.command("trace-lines", hidden=True)
def trace_lines_command() -> int:
    """Write a trace to standard output until SIGTERM comes, or nobody reads it any more."""
    from explorer.cli.process import ExitCode
    from explorer.cli.targets import give_up_rights
    from explorer.codec import encode_trace_line
    from explorer.targets import TargetSpec
    from explorer.tracing import Tracer

    out = sys.stdout.buffer
    with Tracer() as tracer:
        tracer.attach()
        give_up_rights(TargetSpec("live", "live"), None)
        out.write(encode_trace_line(tracer.begin()))
        signal.signal(signal.SIGTERM, lambda *_: tracer.stop())
        _write_lookups(tracer, out)
        out.write(encode_trace_line(tracer.end("interrupted")))
        out.flush()
    return ExitCode.OK


def _write_lookups(tracer: Tracer, out: BinaryIO) -> None:
    """:raises BrokenPipeError: once nobody reads them, also where nothing is looked up, and so nothing is written"""
    from explorer.codec import encode_trace_line

    reader = select.poll()
    reader.register(out.fileno(), 0)  # POLLERR, which comes unasked for, says that the other end is closed
    for lookup in tracer.lookups():
        if lookup is not None:
            out.write(encode_trace_line(lookup))
        else:
            out.flush()
            if any(event & select.POLLERR for _, event in reader.poll(0)):
                raise BrokenPipeError
