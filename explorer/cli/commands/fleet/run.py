"""``fleet run``: many targets become one dataset."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from explorer.cli.completion import complete_files
from explorer.cli.documented import Documented
from explorer.cli.process import ExitCode
from explorer.cli.targets import plugin_option
from explorer.cli.units import Duration, MemorySize

if TYPE_CHECKING:
    from explorer.fleet.running import Engine, Tally

__all__ = ("run_command",)

_FILE = click.Path(path_type=Path)
_PROGRESS_S = 0.5
_MINUTE, _HOUR = 60, 3600


@click.command(
    "run",
    cls=Documented,
    page="docs/fleet.md",
    epilog="A folder is walked: what is no dump, snapshot or recording in it is passed over. With --scheduler, workers "
    "read the files by the same names. Exit codes: 0 every target is a row, whatever came of it, 2 wrong usage or "
    "FLEET not writable, 3 the workers cannot be had or were lost, 130 stopped: the same command goes on.",
)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...", shell_complete=complete_files)
@click.option(
    "-o",
    "--output",
    required=True,
    type=_FILE,
    metavar="FLEET",
    help="The dataset: made, or added to. Mode 0700.",
)
@click.option(
    "--keep-snapshots", is_flag=True, help="Keep a snapshot of every target, so that it can be opened."
)
@click.option(
    "--timeout", type=Duration(), default=600.0, metavar="DURATION", help="Per target. Default: 10m."
)
@click.option(
    "--memory",
    type=MemorySize(),
    metavar="SIZE",
    help="Address space per target (512M, 4G). Default: the machine's memory, divided by its processors.",
)
@click.option(
    "--workers", type=click.IntRange(1, 4096), help="Processes on this machine. Default: one a processor."
)
@click.option(
    "--scheduler", metavar="ADDRESS", help="A Dask cluster's scheduler (tls://HOST:8786): its workers read."
)
@click.option("--tls-ca", type=_FILE, metavar="FILE", help="For the scheduler: who signed its certificate.")
@click.option("--tls-cert", type=_FILE, metavar="FILE", help="The certificate to show it.")
@click.option("--tls-key", type=_FILE, metavar="FILE", help="That certificate's key.")
@click.option("--cache/--no-cache", default=True, help="Keep types and symbols for the next time.")
@plugin_option("One more plugin: a Python file, run with your rights, where the targets are read.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def run_command(targets: tuple[str, ...], output: Path, debug: bool, **asked: Any) -> int:
    """Read every TARGET (files, folders, patterns, @lists of these), each in a process of its own, into FLEET.

    What is in FLEET already is passed over: the same content, read by this version. A run that was stopped or killed
    goes on where it was.
    """
    from explorer.fleet.running import Engine, FleetWriter, ReadingOptions, Tally, find_candidates, run_fleet

    engine = Engine(
        asked["scheduler"], asked["workers"], asked["tls_ca"], asked["tls_cert"], asked["tls_key"]
    )
    _check_engine(engine)
    options = ReadingOptions(
        asked["timeout"],
        asked["memory"],
        asked["cache"],
        asked["keep_snapshots"],
        tuple(str(path.resolve()) for path in asked["plugins"]),
    )
    tally = Tally(found=sum(1 for _ in find_candidates(targets)))
    line = _Line()
    with FleetWriter(output) as writer:
        try:
            with engine.client() as client:
                tally.started = time.monotonic()
                run_fleet(find_candidates(targets), writer, client, options, tally, line.show)
        finally:
            line.clear()
    click.echo(_summary(tally, output), err=True)
    return ExitCode.OK


def _check_engine(engine: Engine) -> None:
    """:raises click.UsageError: for options that do not go together"""
    if engine.scheduler is None and (engine.ca or engine.cert or engine.key):
        raise click.UsageError("--tls-ca, --tls-cert and --tls-key are for --scheduler")
    if engine.scheduler is not None and engine.workers is not None:
        raise click.UsageError(
            "--workers is for this machine: with --scheduler, the cluster has the workers it has"
        )


class _Line:
    """One line on stderr that says how far it is; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def show(self, tally: Tally) -> None:
        now = time.monotonic()
        if self._shown and now - self._last >= _PROGRESS_S:
            self._last = now
            sys.stderr.write(f"\r\x1b[K{_progress(tally)}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._last:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _progress(tally: Tally) -> str:
    left = tally.seconds_left
    to_go = "" if left is None else f", {tally.rate:.1f} a second, {_duration(left)} to go"
    return f"{tally.settled} of {tally.found}{to_go}"


def _duration(seconds: float) -> str:
    """``40 s``, ``3 min``, ``2.5 h``."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:.1f} h"


def _summary(tally: Tally, output: Path) -> str:
    """``FLEET: 5 targets read (4 ok, 1 cannot-open), 2 in it already, 3 files passed over``."""
    from explorer.model import escape_text
    from explorer.naming import count

    words = [f"{count(tally.read, 'target')} read"]
    if tally.outcomes:
        words[0] += (
            f" ({', '.join(f'{number} {outcome}' for outcome, number in tally.outcomes.most_common())})"
        )
    if tally.skipped:
        words.append(f"{tally.skipped} in it already")
    if tally.passed_over:
        words.append(f"{count(tally.passed_over, 'file')} passed over")
    return f"{escape_text(str(output))}: {', '.join(words)}"
