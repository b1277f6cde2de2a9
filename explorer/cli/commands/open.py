"""``open``: the app. It is also what runs where no subcommand is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from explorer.caller import find_caller, runs_for_another_user
from explorer.cli.accepting import check_kept_baseline, kept_baseline_option
from explorer.cli.completion import complete_targets
from explorer.cli.documented import Documented
from explorer.cli.process import is_program
from explorer.cli.targets import TargetArguments, target_options

if TYPE_CHECKING:
    from explorer.codec import ReadAhead
    from explorer.targets import TargetSpec

__all__ = ("become_caller_for", "fleet_named", "in_browser", "open_command", "reader_words", "refuse_pipe")

_SAVED = ("snapshot", "recording", "trace")


@click.command("open", cls=Documented, page="docs/screen.md")
@target_options
@click.option(
    "--interval",
    type=click.FloatRange(min=0.5, max=3600),
    metavar="SECONDS",
    help="Read a kernel that runs again so often; R in the app changes it.",
)
@click.option(
    "--against",
    metavar="OTHER",
    shell_complete=complete_targets(),
    help="Compare with a second target or snapshot.",
)
@kept_baseline_option
def open_command(
    arguments: TargetArguments, interval: float | None, against: str | None, baseline: Path | None
) -> int:
    """Browse TARGET in the terminal app; without one, the running kernel. Of a fleet, its targets."""
    # In a browser tab a driver of textual's stands for the terminal.
    if not (sys.stdin.isatty() and sys.stdout.isatty()) and not in_browser():
        raise click.UsageError(
            "The app needs a terminal. For scripts: nullfs-explorer tasks TARGET, or snapshot TARGET."
        )
    fleet = fleet_named(arguments)
    if fleet is not None:
        return _open_fleet(arguments, fleet, interval, against, baseline)
    guess = not arguments.is_named()
    spec = None if guess else _named(arguments)
    named = [spec]
    if against is not None:
        named.append(_named(arguments._replace(target=against, core=None, kernel=False, qemu=None)))
    words = reader_words(arguments) if not guess else ["live", *reader_words(arguments)]
    become_caller_for(arguments, named, words, () if against is None else (against,))
    check_kept_baseline(baseline)
    running = spec is None or spec.kind in ("live", "qemu", "proc")
    if interval is not None and not running:
        raise click.UsageError(
            "--interval is for a kernel that runs (live, qemu:…): a vmcore or a saved snapshot does not change."
        )
    if against is not None and spec is not None and spec.kind == "trace":
        raise click.UsageError("--against compares snapshots, and this is a trace of lookups.")
    saved = None if spec is None else _read_ahead(spec)
    from explorer.tui import run_app
    from explorer.tui.session import Session

    recorded = spec is not None and spec.kind == "recording"
    return run_app(
        Session(
            tuple(words),
            guess,
            running,
            interval,
            against,
            recording=spec.path if spec is not None and recorded else None,
            saved=saved,
            trace=spec.path if spec is not None and spec.kind == "trace" else None,
            moment=spec.moment if spec is not None and recorded else None,
            plugins=arguments.plugin_set(),
            baseline=baseline,
        )
    )


def _read_ahead(spec: TargetSpec) -> ReadAhead | None:
    """A saved snapshot, which is read while the screen is imported. Under sudo a child does that, which gives up root's
    rights first."""
    if spec.kind != "snapshot" or spec.path is None or runs_for_another_user():
        return None
    from explorer.codec import ReadAhead

    return ReadAhead(spec.path)


def fleet_named(arguments: TargetArguments) -> Path | None:
    """The dataset of a fleet, if that is what is named. Under sudo, the rest is done as the caller, as with files.

    :raises FleetError: if it is one that cannot be opened
    """
    path = None if arguments.target is None else Path(arguments.target)
    if path is None or not path.is_dir():
        return None
    from explorer.fleet import Dataset, is_fleet

    if not is_fleet(path):
        return None
    arguments.name()
    become_caller_of_files(arguments, [path, *path.rglob("*")])
    Dataset.open(path)
    return path


def _open_fleet(
    arguments: TargetArguments,
    fleet: Path,
    interval: float | None,
    against: str | None,
    baseline: Path | None,
) -> int:
    """Browse its targets."""
    if interval is not None:
        raise click.UsageError("--interval is for a kernel that runs: a fleet's dataset is read once.")
    if against is not None:
        raise click.UsageError(
            "--against compares targets; for fleets: nullfs-explorer fleet report --against."
        )
    check_kept_baseline(baseline)
    from explorer.tui import run_app
    from explorer.tui.session import Session

    words = reader_words(arguments._replace(target=None))
    plugins = arguments.plugin_set()
    return run_app(Session(tuple(words), fleet=fleet, plugins=plugins, baseline=baseline))


def become_caller_for(
    arguments: TargetArguments,
    named: Sequence[TargetSpec | None],
    words: Sequence[str],
    others: Sequence[str] = (),
) -> None:
    """Under sudo, do the rest as the caller, before anything is parsed. What the caller may not read, a child does,
    which a process starts that keeps root's rights: see :class:`explorer.program.Starter`.

    :param named: the targets; ``None``: the running kernel
    :param words: the reader's, of the first of them
    :param others: the names of the rest
    """
    if not is_program() or find_caller() is None:
        return
    files = [each.path for each in named if each is not None and each.path is not None]
    if len(files) == len(named) and _becomes_caller(arguments, files):
        return
    saved = [
        each.path for each in named if each is not None and each.path is not None and each.kind in _SAVED
    ]
    if len(saved) < len(named):
        _keep_starter(arguments, words, others)
    _give_up_but_for(arguments, saved)


def become_caller_of_files(arguments: TargetArguments, files: Sequence[Path]) -> None:
    """As :func:`become_caller_for`, of files that hold no memory: a fleet's."""
    if is_program() and find_caller() is not None and not _becomes_caller(arguments, files):
        _give_up_but_for(arguments, files)


def _becomes_caller(arguments: TargetArguments, files: Sequence[Path]) -> bool:
    """Whether it is done: the caller may read all that is named."""
    from explorer.targets import Needs, become_caller

    more = [file for file in (arguments.vmcoreinfo, arguments.symbols_file) if file is not None]
    return become_caller(Needs((*files, *arguments.symbols, *arguments.plugins, *more)))


def _keep_starter(arguments: TargetArguments, words: Sequence[str], others: Sequence[str]) -> None:
    """Of those that start readers, one keeps root's rights: it starts these, and nothing else."""
    from explorer.program import Starter, find_starter
    from explorer.wire import reader_arguments, trace_arguments

    if find_starter() is None:  # else this is a tab of a browser, and the server has one
        options = reader_words(arguments._replace(target=None, core=None, kernel=False, qemu=None))
        readers = [words, *((other, *options) for other in others)]
        tracers = [trace_arguments()] if words[0] == "live" else []
        Starter.begin([*map(reader_arguments, readers), *tracers, ["doctor"]])


def _give_up_but_for(arguments: TargetArguments, files: Sequence[Path]) -> None:
    """Be the caller, or where who may not read these, root without a capability."""
    from explorer.targets import Needs, give_up_rights

    give_up_rights(Needs((*files, *arguments.plugins)))


def _named(arguments: TargetArguments) -> TargetSpec:
    """What is named. One that is wrong is one line on the terminal, not a screen."""
    from explorer.program import find_starter
    from explorer.targets import TargetError, TargetSpec

    name = arguments.name()
    try:
        spec = arguments.spec()
    except TargetError:
        if find_starter() is None:
            raise
        # Only root may look into it, which the server of this tab has done; a reader says what else is wrong with it.
        spec = TargetSpec("vmcore", name)
    refuse_pipe(spec)
    return spec


def refuse_pipe(spec: TargetSpec) -> None:
    """:raises click.UsageError: for a target that the app's readers, processes of their own, cannot open"""
    if spec.is_pipe:
        from explorer.model import escape_text

        raise click.UsageError(
            f"{escape_text(spec.text)} is a pipe, which can be read only once: save what comes from it to a file, "
            "and browse that."
        )


def in_browser() -> bool:
    """Whether ``serve`` started this process, for a tab of a browser."""
    return os.environ.get("TEXTUAL_DRIVER", "").endswith(":BrowserDriver")


def reader_words(arguments: TargetArguments) -> list[str]:
    """The same target and options as words for the reader's command line."""
    words: list[str] = []
    if arguments.is_named():
        words.append(arguments.name())
    for path in arguments.symbols:
        words += ["--symbols", str(path)]
    for path in arguments.plugins:
        words += ["--plugin", str(path)]
    valued = {
        "--types": arguments.types,
        "--symbols-file": arguments.symbols_file,
        "--vmcoreinfo": arguments.vmcoreinfo,
        "--ram-below-4g": arguments.ram_below_4g,
    }
    for option, value in valued.items():
        if value is not None:
            words += [option, str(value)]
    if arguments.force:
        words.append("--force")
    if not arguments.cache:
        words.append("--no-cache")
    if arguments.allow_plugins_as_root:
        words.append("--allow-plugins-as-root")
    return words
