"""Every command there is, as help sees it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from explorer.cli.command import cli
from explorer.wire import PROGRAM

__all__ = ("every_command",)


def every_command(
    command: click.Command = cli, parent: click.Context | None = None, name: str = PROGRAM
) -> Iterator[click.Context]:
    """The command itself, and those in it, each behind its group; without what is for children of ours alone."""
    context = click.Context(command, parent, name, terminal_width=80, **command.context_settings)
    yield context
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            inner = command.get_command(context, each)
            assert inner is not None, f"{context.command_path} lists {each} and has it not"
            yield from every_command(inner, context, each)
