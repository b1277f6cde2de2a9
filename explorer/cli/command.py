"""The ``nullfs-explorer`` command."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import click

from explorer.version import __version__
from explorer.wire import PROGRAM

from .completion import COMPLETION, register_shells
from .documented import DocumentedGroup
from .process import ExitCode, is_program, note_program, tell_ending
from .streams import abandon_stdout, check_streams, escape_lines, is_out_of_memory, say

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ("cli", "known_error", "main")

#: Subcommand -> module of this package that defines it, under the same name: imported when it is used.
_COMMANDS = {
    "audit": "audit",
    "diff": "diff",
    "doctor": "doctor",
    "explain": "audit",
    "fleet": "fleet",
    "frame": "timeline",
    "holders": "holders",
    "keys": "plugins",
    "ko": "ko",
    "mounts": "holders",
    "namespaces": "holders",
    "open": "open",
    "plugins": "plugins",
    "record": "record",
    "schema": "snapshot",
    "serve": "serve",
    "slice": "slice",
    "snapshot": "snapshot",
    "tasks": "tasks",
    "timeline": "timeline",
    "trace": "trace",
}
#: For children of ours: nobody types them, and no help lists them.
_INTERNAL = {"trace-lines": "trace", "fleet-reader": "fleet"}
_HELP = {
    "audit": "Say what is wrong with a kernel's filesystem state; an exit code for CI.",
    "diff": "Say what differs between two targets or snapshots.",
    "doctor": "Say what this machine offers, and what to do about each lack.",
    "explain": "Say what a rule of the audit means, and what to do.",
    "fleet": "Read many targets into one dataset, and ask it.",
    "frame": "Export one frame of a recording as a snapshot.",
    "holders": "Say who holds a mount, and how many of its references are unexplained.",
    "keys": "List every key of the terminal app, by the id that a keymap uses.",
    "ko": "Say whether kernel modules look up paths, and borrow init's fs for it.",
    "mounts": "List the mounts, of every namespace and of none; say who still holds a source.",
    "namespaces": "List the mount namespaces, those without a task too, and who keeps each.",
    "open": "Browse a target in the terminal app; the same as naming no command.",
    "plugins": "List the plugins, what each needs, and whether a target has it.",
    "record": "Record a guest, a boot or this machine over time.",
    "schema": "Print the JSON Schema of a snapshot.",
    "serve": "Browse a target in a web browser on this machine.",
    "slice": "Cut a vmcore down to the pages a capture needs.",
    "snapshot": "Export everything about a kernel's fs_structs as JSON, JSON Lines or CSV.",
    "tasks": "Show where every task lives: a table.",
    "timeline": "Say what happened in a recording.",
    "trace": "Say what path lookups of kernel threads mean: who asked, and what fails on 7.3.",
}

_MAX_LINE = 1000
_OUT_OF_MEMORY = f"{PROGRAM}: out of memory: this process may not have as much as the target needs\n".encode()


class _OutputClosedError(Exception):
    """Whoever reads our output has seen enough: not a BrokenPipeError, of which click would make exit code 1."""


class LazyGroup(DocumentedGroup):
    """Where the first word names no command, the app is meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        completing = ctx.resilient_parsing and not args
        if not completing and (not args or args[0] not in {*_COMMANDS, *_INTERNAL, *own}):
            if args and not ctx.resilient_parsing:
                _check_first(args[0])
            args = ["open", *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _OutputClosedError from error

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        app = self.get_command(ctx, "open")
        assert app is not None
        target = app.params[0]
        own = super().shell_complete(ctx, incomplete)
        either = app.shell_complete(ctx, incomplete) or target.shell_complete(ctx, incomplete)
        return [*own, *(item for item in either if item.value not in {each.value for each in own})]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _COMMANDS.get(cmd_name) or _INTERNAL.get(cmd_name)
        if name is None:
            return None
        module = importlib.import_module(f"explorer.cli.commands.{name}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command


def _check_first(word: str) -> None:
    """:raises click.UsageError: for a word in place of a command that is no target either, but for a typing error"""
    if word in ("live", "proc", "sample") or not word.isidentifier() or os.path.lexists(word):
        return
    import difflib

    near = difflib.get_close_matches(word, [*_COMMANDS, "live", "proc", "sample"], 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise click.UsageError(f"{word} is no command, and there is no file of that name{meant}")


@click.group(
    cls=LazyGroup,
    summaries=_HELP,
    page="README.md",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="TARGET is live, proc (what /proc tells, without the kernel's memory), "
    "a vmcore or the crash folder it is in, qemu:SOCKET, physmem:FILE, sample, "
    "a saved snapshot, or a recording (FILE@3.4s: one of its frames). "
    "Exit codes: 0 done, 1 something was found (audit, diff, holders, ko, trace), 2 wrong usage or output not "
    "writable, "
    "3 target cannot be opened (or the reader crashed at once), 4 captured with errors (the output is written).",
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Which task of a Linux kernel lives where: in nullfs, in userspace_init_fs, or elsewhere.

    Reads a live, crash-dumped or QEMU-hosted x86_64 kernel, without debug info.
    """


def _one_line(error: BaseException) -> str:
    """What an error says, escaped, in a line that is not longer than anyone reads."""
    from explorer.model import escape_text

    text = " ".join(str(error)[: 4 * _MAX_LINE].split())
    return escape_text(text if len(text) <= _MAX_LINE else f"{text[:_MAX_LINE]}...")


def _known_errors() -> dict[type[BaseException], int]:
    """Exceptions whose message is written for the user, and their exit codes; imported on the way out."""
    from explorer.analysis.redact import RedactionError
    from explorer.codec import SnapshotError, TraceError
    from explorer.fleet import FleetError, FleetWriteError
    from explorer.output import OutputError
    from explorer.recording import RecordingError, WriteError
    from explorer.targets import TargetError

    return {
        TargetError: ExitCode.TARGET,
        RedactionError: ExitCode.TARGET,
        SnapshotError: ExitCode.TARGET,
        FleetWriteError: ExitCode.USAGE,
        FleetError: ExitCode.TARGET,
        TraceError: ExitCode.TARGET,
        OutputError: ExitCode.USAGE,
        WriteError: ExitCode.USAGE,
        RecordingError: ExitCode.TARGET,
    }


def known_error(error: BaseException) -> str | None:
    """What an error says, if that is written for the user: one line, escaped."""
    return _one_line(error) if isinstance(error, tuple(_known_errors())) else None


def main(args: list[str] | None = None) -> None:
    """Run the command and exit: one clear line on stderr for an error, never a traceback without --debug."""
    try:
        _run(args)
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else ExitCode.OK
        if tell_ending(code):
            _leave(code)
        raise


def _leave(code: int) -> NoReturn:
    """End a reader: to take apart what it has read, object by object, takes longer than to print it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # it was said before what became of the output
            stream.flush()
    os._exit(code)


def _run(args: list[str] | None) -> NoReturn:
    note_program(args is None)
    if args is None:
        check_streams()
        # Before either is there: they run whatever any installed package has registered as a plugin of theirs. Those of
        # drgn are mostly commands for its own prompt, a hundred modules; who wants another names it in DRGN_PLUGINS.
        os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
        os.environ.setdefault("DRGN_DISABLE_PLUGINS", "*")
    if COMPLETION in os.environ:
        register_shells()
    debug = "--debug" in (sys.argv[1:] if args is None else args)
    try:
        from explorer.targets import harden_process

        harden_process()
        result: Any = cli.main(args, prog_name=PROGRAM, standalone_mode=False)
        _flush()
    except click.ClickException as error:
        vars(error)["message"] = escape_lines(error.message)
        context = getattr(error, "ctx", None)
        hint = "" if context is None else f" ({escape_lines(context.command_path)} --help says more)"
        say(f"{PROGRAM}: {error.format_message().rstrip('.')}{hint}")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one is enough
        say("Stopped.")
        sys.exit(130)
    except (_OutputClosedError, BrokenPipeError):  # the latter: from the last flush
        abandon_stdout()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001  # the last line of defence: reported, never swallowed
        if is_out_of_memory(error):
            _end_without_memory()
        try:
            code = _report(error, debug)
        except Exception as another:
            if is_out_of_memory(another):
                _end_without_memory()
            raise
        sys.exit(code)
    if is_program():
        gc.freeze()  # else the interpreter looks for cycles in all that was read before it ends
    sys.exit(result if isinstance(result, int) else ExitCode.OK)


def _flush() -> None:
    """Errors of buffered output (a full disk behind ``>``) belong to this command, not to interpreter exit."""
    sys.stdout.flush()


def _end_without_memory() -> NoReturn:
    """What holds the memory is still there: nothing is imported or made here."""
    with suppress(OSError):
        os.write(2, _OUT_OF_MEMORY)
    sys.exit(ExitCode.TARGET)


def _report(error: Exception, debug: bool) -> int:
    if debug:
        import traceback

        say(escape_lines("".join(traceback.format_exception(error))))
    for kind, code in _known_errors().items():
        if isinstance(error, kind):
            say(f"{PROGRAM}: {_one_line(error)}")
            return code
    if isinstance(error, OSError):
        abandon_stdout()
        say(f"{PROGRAM}: cannot write the output: {_one_line(error)}")
        return ExitCode.USAGE
    hint = "" if debug else "; run again with --debug and report what it prints"
    say(f"{PROGRAM}: a fault of this program: {type(error).__name__}: {_one_line(error)}{hint}")
    return ExitCode.TARGET
