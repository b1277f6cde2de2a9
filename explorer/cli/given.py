"""Commands on a kernel that somebody has open: drgn's ``%nullfs``. The process, and its rights, stay as they are."""

from __future__ import annotations

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


def run_command(kernel: OpenKernel | None, words: list[str], prefix: str) -> list[Task] | None:
    """Run one command, which prints. Returns the tasks that ``tasks`` showed, and ``None`` from the others.

    :param kernel: what it is about; it stays open. ``None``: only the words are checked, and help is printed
    :param prefix: what stands before the command, for messages

    :raises GivenError: if the words are wrong, or the kernel cannot be captured
    """
    name, *rest = words or [""]
    if name not in COMMANDS:
        raise GivenError(
            f"{prefix} COMMAND [OPTION...]; COMMAND is one of {', '.join(COMMANDS)}", of_words=True
        )
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    try:
        with command.make_context(f"{prefix} {name}", [GIVEN, *rest] if COMMANDS[name] else rest) as context:
            if kernel is None and COMMANDS[name]:
                return None
            with give_kernel(kernel) as captured:
                command.invoke(context)
    except click.exceptions.Exit:  # --help
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
