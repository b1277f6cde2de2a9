"""``%nullfs`` in drgn: our commands, on the program that is open there. drgn loads this module at every start.

It finds it by the entry point ``nullfs`` of the group ``drgn.plugins``. The command stands beside drgn's own; what it
does is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drgn import Object, Program
from drgn.commands import CommandArgumentError, CommandError, custom_command, parse_shell_command

if TYPE_CHECKING:
    from explorer.targets import OpenKernel

__all__ = ("run_nullfs",)

_PREFIX = "%nullfs"
_HELP = """
    *command* is **tasks**, **audit**, **explain**, **plugins**, **mounts**, **namespaces**, **holders** or
    **snapshot**, with the options that nullfs-explorer has for it (**-h** lists them). It is about the program
    that is open.

    **tasks** returns the tasks that it shows, as a list of ``struct task_struct *``.
    """


@custom_command(
    name="nullfs",
    description="show which tasks live in nullfs, and which in userspace_init_fs",
    usage="**nullfs** *command* [*option*...]",
    long_description=_HELP,
    parse=parse_shell_command,
)
def run_nullfs(prog: Program, name: str, args: Any, **kwargs: Any) -> list[Object] | None:
    """Run one of our commands. Returns what drgn keeps in ``_``, or ``None``.

    :raises CommandArgumentError: if the words are wrong
    :raises CommandError: if the program cannot be captured
    """
    from explorer.cli import GivenError, run_command
    from explorer.targets import adopt_program

    opened: list[OpenKernel] = []

    def open_kernel() -> OpenKernel:
        opened.append(adopt_program(prog))
        return opened[-1]

    try:
        tasks = run_command(open_kernel, list(args), _PREFIX)
    except GivenError as error:
        raise (CommandArgumentError if error.of_words else CommandError)(str(error)) from None
    if tasks is None:
        return None
    return [Object(opened[-1].prog, "struct task_struct *", value=task.address) for task in tasks]
