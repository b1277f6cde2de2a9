"""Commands on a kernel that somebody has open: drgn's ``%nullfs``. The process, and its rights, stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from .command import cli, known_error
from .targets import GIVEN, give_kernel

if TYPE_CHECKING:
    from explorer.model import Task
    from explorer.targets import OpenKernel

__all__ = ("COMMANDS", "GivenError", "run_command")

#: What makes sense on a kernel that is open, and whether it takes that for its target.
COMMANDS = {
    "audit": True,
    "explain": False,
    "holders": True,
    "mounts": True,
    "namespaces": True,
    "plugins": True,
    "snapshot": True,
    "tasks": True,
}


class GivenError(Exception):
    """The command cannot be done; the message is one line. ``of_words``: it was not said right."""

    def __init__(self, message: str, *, of_words: bool = False) -> None:
        super().__init__(message)
        self.of_words = of_words


def run_command(open_kernel: Callable[[], OpenKernel], words: list[str], prefix: str) -> list[Task] | None:
    """Run one command, which prints. Returns the tasks that ``tasks`` showed, and ``None`` from the others.

    :param open_kernel: gives what the command is about, which stays open. It may take a while: it is called when the
        words are right, and a kernel is needed
    :param prefix: what stands before the command, for messages

    :raises GivenError: if the words are wrong, or the kernel cannot be captured
    """
    # As click makes a context for the command line: how help is asked for, and how wide it is, is said by the group.
    group = cli.context_class(cli, info_name=prefix, **cli.context_settings)
    name, *rest = words or [""]
    if name in group.help_option_names:
        click.echo(_help(group))
        return None
    if name not in COMMANDS:
        raise GivenError(
            f"{prefix} COMMAND [OPTION...]; COMMAND is one of {', '.join(COMMANDS)}", of_words=True
        )
    command = cli.get_command(group, name)
    assert command is not None
    needs_kernel = COMMANDS[name]
    try:
        context = command.make_context(name, [GIVEN, *rest] if needs_kernel else rest, parent=group)
        with context, give_kernel(open_kernel() if needs_kernel else None) as captured:
            command.invoke(context)
    except click.exceptions.Exit:  # help was asked for
        return None
    except click.ClickException as error:
        raise GivenError(" ".join(error.format_message().split()), of_words=True) from error
    except Exception as error:
        known = known_error(error)
        if known is None:
            raise
        raise GivenError(known) from error
    if name != "tasks" or not captured:
        return None
    where = context.params["where"]
    return list(filter(where.bind(captured[-1]), captured[-1].tasks)) if where else captured[-1].tasks


def _help(group: click.Context) -> str:
    formatter = group.make_formatter()
    formatter.write_usage(group.command_path, "COMMAND [OPTION...]")
    with formatter.section("Commands"):
        formatter.write_dl([(name, cli.summaries[name]) for name in COMMANDS])
    return formatter.getvalue().rstrip()
