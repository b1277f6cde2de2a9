"""What an output is and where it goes: types of options that several commands have."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .completion import complete_files

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from explorer.output import SnapshotFormat
    from explorer.output.mounts import Listing, ListingForm

__all__ = (
    "OutputFile",
    "fail_on_option",
    "fleet_report_output_options",
    "fleet_tasks_output_options",
    "format_option",
    "listing_options",
    "print_listing",
    "redact_option",
    "snapshot_format",
    "snapshot_output_options",
    "terminal_width",
    "trace_output_options",
    "width_option",
)

_F = TypeVar("_F", bound=Callable[..., Any])


class OutputFile(click.ParamType[Path | None]):
    """A file to write, as a ``Path``.

    :param or_stdout: ``-`` is standard output, and becomes ``None``; else it is refused
    """

    name = "file"

    def __init__(self, or_stdout: bool = False) -> None:
        self._or_stdout = or_stdout

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        return complete_files(ctx, param, incomplete)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | None:
        if value == "":
            self.fail("an empty name: name a file", param, ctx)
        if value != "-":
            return Path(value)
        if not self._or_stdout:
            self.fail("this cannot go to standard output: name a file (./- for one called -)", param, ctx)
        return None


def format_option(*others: str, hint: str = "") -> Callable[[_F], _F]:
    """Gives a command ``format_``: "text", or one of the others. :param hint: goes into the help text"""
    kinds = click.Choice(["text", *others])
    return click.option("--format", "format_", type=kinds, default="text", help=f"Default: text.{hint}")


_SEVERITIES = ("critical", "high", "medium", "low", "info")

fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(_SEVERITIES),
    default="medium",
    show_default=True,
    help="Exit with 1 for a finding as bad as this, or worse.",
)


redact_option = click.option(
    "--redact", is_flag=True, help="Replace names of tasks, paths, devices and hosts, equal ones alike."
)


width_option = click.option(
    "--width", type=click.IntRange(40), help="Columns; default: the terminal's, unlimited in a pipe."
)


def terminal_width(width: int | None) -> int | None:
    """What :data:`width_option` asked for: the terminal's columns, or ``None`` where there is no terminal."""
    return shutil.get_terminal_size().columns if width is None and sys.stdout.isatty() else width


def _named_output(formats: Iterable[str], otherwise: str, suffixes: str) -> Callable[[_F], _F]:
    """Gives a command ``output``, ``None`` for standard output, and ``format_``, ``None`` for what the name says.

    :param otherwise: the format of what has no name, or one that says nothing
    :param suffixes: what the end of a name says, for help
    """
    by_name = f"Default: by the name of FILE, else {otherwise}."
    form = click.option("--format", "format_", type=click.Choice(list(formats)), help=by_name)
    where = f"Write here instead of to standard output; {suffixes}. Mode 0600."
    output = click.option("-o", "--output", type=OutputFile(or_stdout=True), metavar="FILE", help=where)
    return lambda function: output(form(function))


def listing_options(function: _F) -> _F:
    """Gives a command that prints a list ``output``, ``format_`` and ``width``: see :func:`print_listing`."""
    from explorer.output.mounts import LISTING_FORMS

    named = _named_output(LISTING_FORMS, "text", ".json, .csv and .md say the format")
    return named(width_option(function))


def print_listing(listing: Listing, output: Path | None, form: ListingForm | None, width: int | None) -> None:
    """Write a list as :func:`listing_options` asked. :raises OutputError: if it cannot be written"""
    from explorer.output.mounts import form_of_name, write_listing

    columns = terminal_width(width) if output is None else width
    write_listing(listing, form or form_of_name(output), output, columns)


def snapshot_output_options(function: _F) -> _F:
    """Gives a command that writes a snapshot ``output``, ``None`` for standard output, and ``format_``."""
    from explorer.output import SNAPSHOT_FORMATS

    return _named_output(SNAPSHOT_FORMATS, "json", ".zst, .gz, .xz, .bz2 and .lz4 compress")(function)


def snapshot_format(output: Path | None, name: str | None) -> SnapshotFormat:
    """What :func:`snapshot_output_options` asked for: the format that is named, else the one of the file's name."""
    from explorer.output import SNAPSHOT_FORMATS, format_of_name

    return format_of_name(output) if name is None else SNAPSHOT_FORMATS[name]


def trace_output_options(function: _F) -> _F:
    """Gives a command that writes lookups ``output``, ``None`` for standard output, and ``format_``."""
    from explorer.output.lookups import LOOKUP_FORMS

    return _named_output(LOOKUP_FORMS, "table", ".json, .jsonl and .sarif say the format")(function)


def fleet_report_output_options(function: _F) -> _F:
    """Gives a command that reports on a fleet ``output``, ``None`` for standard output, and ``format_``."""
    from explorer.output.fleet import REPORT_FORMS

    return _named_output(REPORT_FORMS, "text", ".md, .json and .sarif say the format")(function)


def fleet_tasks_output_options(function: _F) -> _F:
    """Gives a command that lists tasks of a fleet ``output``, ``None`` for standard output, and ``format_``."""
    from explorer.output.fleet import TASK_FORMS

    return _named_output(TASK_FORMS, "table", ".csv and .jsonl say the format")(function)
