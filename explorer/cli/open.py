"""``open``: the app. It is also what runs where no subcommand is named."""

from __future__ import annotations

import sys

import click

from .targets import TargetArguments, target_options

__all__ = ("open_command",)


@click.command("open")
@target_options
def open_command(arguments: TargetArguments) -> int:
    """Browse TARGET in the terminal app; without one, the running kernel."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise click.UsageError(
            "The app needs a terminal. For scripts: nullfs-explorer tasks TARGET, or snapshot TARGET."
        )
    guess = not arguments.is_named()
    if not guess:
        # A name that is wrong is one line on the terminal, not a screen.
        arguments.name()
        arguments.spec()
    words = reader_words(arguments) if not guess else ["live", *reader_words(arguments)]
    from explorer.tui.run import run_app

    return run_app(words, guess)


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
    return words
