"""``trace``: path lookups as they happened, who asked, and what each means."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from explorer.cli.completion import complete_targets
from explorer.cli.documented import Documented
from explorer.cli.formats import redact_option, terminal_width, trace_output_options, width_option
from explorer.cli.live_trace import attached_tracer, clean_up, keep_only_of_trace, live_trace, write_lines
from explorer.cli.process import ExitCode, give_up_rights_but_for
from explorer.cli.progress import ProgressLine
from explorer.cli.targets import guard_reader, say_broken, say_left
from explorer.cli.units import Duration
from explorer.cli.where import LookupQueryType
from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from explorer.analysis.lookups import Judged, ModuleReadiness, Summary
    from explorer.analysis.query import Query
    from explorer.model import Lookup, TraceEnd, TraceHeader
    from explorer.output.lookups import LookupForm
    from explorer.plugin import PluginSet

__all__ = ("Asked", "Traced", "show_lookups", "trace_command", "trace_lines_command")

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_PLUGIN = click.Path(exists=True, dir_okay=False, readable=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options say of the output."""

    where: Query | None
    format_: LookupForm | None
    output: Path | None
    stack: bool
    readiness: bool
    installed: bool
    modules: Path | None
    width: int | None
    redact: bool = False

    def form(self) -> LookupForm:
        """The one that is named, else that of the output's name."""
        from explorer.output.lookups import lookup_form_of_name

        return self.format_ or lookup_form_of_name(self.output)

    def grows(self) -> bool:
        """Whether what a trace of the running kernel has written is there before it has ended."""
        from explorer.compression import method_of_name

        if self.output is None:
            return True
        return self.form() == "jsonl" and method_of_name(self.output.name) is None


@dataclass(frozen=True, slots=True)
class Traced:
    """Lookups from anywhere: a file has all of them, of a kernel that runs they come."""

    header: TraceHeader
    name: str
    lookups: Iterable[Lookup]
    end: Callable[[], TraceEnd | None]
    """Asked when there are no more; ``None``: it was cut off."""
    is_live: bool = False


@click.command(
    "trace",
    cls=Documented,
    page="docs/trace.md",
    epilog="Exit codes: 0 no lookup failed in nullfs, 1 one did, or would on 7.3, 2 wrong usage, 3 FILE or the "
    "kernel cannot be opened, or who traces it has crashed, 4 none did, but events were lost, the trace was cut off, "
    "or of a lookup it cannot be told.",
)
@click.argument("target", default="live", metavar="[live|FILE]", shell_complete=complete_targets("live"))
@click.option(
    "--for", "seconds", type=Duration(), metavar="TIME", help="live: so long. Default: until Ctrl-C."
)
@click.option(
    "--until-first", is_flag=True, help="live: until the first lookup that fails in nullfs, or would on 7.3."
)
@click.option(
    "--user",
    "users",
    multiple=True,
    metavar="PID|NAME",
    help="live: lookups of this user task, too.",
)
@click.option("--clean", is_flag=True, help="Remove what traces that were killed have left, and end.")
@click.option(
    "--where",
    type=LookupQueryType(),
    metavar="QUERY",
    help="Only lookups that match, such as 'module:zfs not meaning:borrowed'.",
)
@trace_output_options
@click.option("--stack", is_flag=True, help="In a table, the whole stack of each lookup.")
@click.option("--readiness", is_flag=True, help="Say also which of the loaded modules are ready for 7.3.")
@click.option("--installed", is_flag=True, help="With --readiness: of all that are installed, loaded or not.")
@click.option(
    "--modules",
    type=_DIRECTORY,
    metavar="DIR",
    help="Where the files of its kernel's modules are. Default: /lib/modules and its release.",
)
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=_PLUGIN,
    metavar="FILE",
    help="One more plugin: a Python file, run with your rights.",
)
@redact_option
@width_option
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def trace_command(
    target: str,
    plugins: tuple[Path, ...],
    debug: bool,
    clean: bool,
    seconds: float | None,
    until_first: bool,
    users: tuple[str, ...],
    **options: Any,
) -> int:
    """Say of each path lookup by a kernel thread who asked, and what it means; then, by who asked, what to do.

    Of the running kernel (live, the default; needs root), as they happen, or of a trace in FILE that -o wrote.

    On 7.3 a lookup of a kernel thread fails, as it starts in nullfs, or is borrowed. Of an older kernel it is said
    what would become of it there.
    """
    from explorer.output import check_writable
    from explorer.plugin import PluginSet

    if clean:
        return clean_up()
    asked = Asked(**options)
    if (asked.modules is not None or asked.installed) and not asked.readiness:
        raise click.UsageError("--modules and --installed are for --readiness: say that too")
    if asked.redact and asked.readiness:
        raise click.UsageError("--readiness names this machine's files: it cannot be said with --redact")
    if asked.output is not None:
        check_writable(asked.output)
    if target == "live":
        return _trace_live(asked, PluginSet(plugins), seconds, until_first, users)
    for name, value in (("--for", seconds), ("--until-first", until_first), ("--user", users)):
        if value:
            raise click.UsageError(f"{name} is for live: a saved trace has what it has")
    return _show_file(target, asked, PluginSet(plugins))


def _show_file(target: str, asked: Asked, plugins: PluginSet) -> int:
    from explorer.codec import load_trace
    from explorer.targets.dumps import readable_path

    path = readable_path(target, raw=True)
    give_up_rights_but_for(path, output=asked.output)
    trace = load_trace(path)
    return show_lookups(Traced(trace.header, target, trace.lookups, lambda: trace.end), asked, plugins)


def _trace_live(
    asked: Asked, plugins: PluginSet, seconds: float | None, until_first: bool, users: tuple[str, ...]
) -> int:
    def is_enough(judged: Judged) -> bool:
        if judged.meaning.is_bad:
            trace.stop()
        return judged.meaning.is_bad

    guard_reader("live", ProgressLine(), passes_on=True)
    with live_trace(users, seconds, asked.output, plugins) as trace:
        if asked.grows():
            say_left("what was written until then stays")
        traced = Traced(trace.header, "live", trace.lookups(), trace.end, is_live=True)
        return show_lookups(traced, asked, plugins, is_enough if until_first else None)


@click.command("trace-lines", hidden=True)
def trace_lines_command() -> int:
    """Write a trace to standard output until SIGTERM comes, or nobody reads it any more."""
    with attached_tracer() as tracer:
        keep_only_of_trace()
        write_lines(tracer, sys.stdout.buffer)
    return ExitCode.OK


def show_lookups(
    traced: Traced, asked: Asked, plugins: PluginSet, stop_at: Callable[[Judged], bool] | None = None
) -> int:
    """Write lookups as they come, and what they mean together when there are no more. Returns the exit code.

    :param stop_at: the lookup after which no more are asked for
    """
    from explorer.analysis.lookups import Judge, Summary, lookup_matches, lost_words
    from explorer.model import escape_text
    from explorer.output import open_growing, open_output
    from explorer.output.lookups import Told, Written, lookup_writer

    form = asked.form()
    width = terminal_width(asked.width) if asked.output is None else asked.width
    judge, summary = Judge(traced.header, plugins.plugins), Summary()
    matches = None if asked.where is None else lookup_matches(asked.where)
    files = _module_files(traced.header, asked.modules) if asked.readiness else None
    shown = _Shown(traced, asked.redact)
    opened = open_growing if traced.is_live and form == "jsonl" else open_output
    with opened(asked.output) as out:
        writer = lookup_writer(form, Written(shown.header, shown.name, width, asked.stack), out)
        for lookup in traced.lookups:
            judged = judge.judge(lookup)
            if matches is None or matches(judged):
                said = judged if shown.names is None else judge.judge(shown.names.record(lookup))
                summary.add(said)
                writer.lookup(said)
            if stop_at is not None and stop_at(judged):
                break
        end = shown.end(traced.end())
        modules = None
        if files is not None:
            modules = _readiness(traced.header, summary, files, asked.installed, plugins)
        code = _exit_code(summary, end, bool(plugins.loaded.errors))
        writer.finish(Told(summary, end, modules, code))
    say_broken(plugins.loaded)
    for words in () if form == "table" and asked.output is None else lost_words(end):
        click.echo(f"{PROGRAM}: {escape_text(f'{traced.name}: {words}')}", err=True)
    return code


class _Shown:
    """What of a trace is shown: with other names, where that was asked for."""

    def __init__(self, traced: Traced, redact: bool) -> None:
        from explorer.analysis.redact import TraceRedactor

        self.names = TraceRedactor(traced.header) if redact else None
        self.header = traced.header if self.names is None else self.names.header
        is_as_it_is = self.names is None or traced.is_live
        self.name = traced.name if is_as_it_is or self.names is None else self.names.text(traced.name)

    def end(self, end: TraceEnd | None) -> TraceEnd | None:
        return end if end is None or self.names is None else self.names.record(end)


def _exit_code(summary: Summary, end: TraceEnd | None, is_missing_a_plugin: bool) -> int:
    """A lookup that fails outweighs what was lost; without one, a gap is no clean bill."""
    from explorer.analysis.lookups import lost_words

    if summary.bad:
        return ExitCode.FOUND
    return ExitCode.ERRORS if lost_words(end) or summary.untold or is_missing_a_plugin else ExitCode.OK


def _module_files(header: TraceHeader, directory: Path | None) -> dict[str, Path]:
    """By the name of the module. :raises TargetError: before anything is written"""
    from explorer.targets.symbols import find_module_files, modules_directory

    return find_module_files(directory or modules_directory(header.release))


def _readiness(
    header: TraceHeader,
    summary: Summary,
    files: dict[str, Path],
    installed: bool,
    plugins: PluginSet,
) -> list[ModuleReadiness]:
    """What was seen, joined with what the symbols of every module say."""
    from explorer.analysis import judge_module
    from explorer.analysis.lookups import readiness_of
    from explorer.targets import TargetError
    from explorer.targets.symbols import read_module_file

    names = {module.name for module in header.modules}
    names |= {asked.module for asked in summary.groups if asked.module is not None}
    names |= set(files) if installed else set()
    reports, unread = {}, {}
    for name in sorted(names):
        if name not in files:
            unread[name] = "no file of that name among the modules"
            continue
        try:
            reports[name] = judge_module(read_module_file(files[name]))
        except TargetError as error:
            unread[name] = str(error)
    return readiness_of(header, summary.groups, reports, unread, plugins.plugins)
