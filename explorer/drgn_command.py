"""``%nullfs`` in drgn: our commands, on the program that is open there. drgn loads this module at every start.

It finds it by the entry point ``nullfs`` of the group ``drgn.plugins``. The command stands beside drgn's own; what it
does is imported when it is used.
"""

from __future__ import annotations

from typing import Any

from drgn import Object, Program
from drgn.commands import CommandArgumentError, CommandError, custom_command, parse_shell_command

__all__ = ("run_nullfs",)

_PREFIX = "%nullfs"
_HELP = """
    *command* is **tasks**, **audit**, **explain**, **plugins**, **mounts**, **namespaces**, **holders** or
    **snapshot**, with the options that nullfs-explorer has for it (**--help** lists them). It is about the program
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
    from explorer.targets import TargetError, adopt_program

    words = ["--help"] if not args else list(args)
    try:
        run_command(None, words, _PREFIX)  # before the kernel is opened, which may take a while
        if words[0] == "explain" or {"-h", "--help"} & set(words):
            return None
        kernel = adopt_program(prog)
        tasks = run_command(kernel, words, _PREFIX)
    except GivenError as error:
        raise (CommandArgumentError if error.of_words else CommandError)(str(error)) from None
    except TargetError as error:
        raise CommandError(str(error)) from None
    if tasks is None:
        return None
    return [Object(kernel.prog, "struct task_struct *", value=task.address) for task in tasks]
