"""``snapshot``: export; ``schema``: what the export looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from .formats import OutputFile
from .process import ExitCode
from .targets import TargetArguments, read_snapshot, say_broken, target_options

if TYPE_CHECKING:
    from explorer.model import Snapshot

__all__ = (
    "FORMATS",
    "format_of",
    "schema_command",
    "snapshot_command",
    "warn_of_errors",
    "write_snapshot",
)

FORMATS = ("json", "jsonl", "csv")
#: Of each part of an error that is shown on the terminal.
_MOST_WORDS = 250


@click.command("snapshot")
@target_options
@click.option(
    "-o",
    "--output",
    type=OutputFile(or_stdout=True),
    metavar="FILE",
    help="Write here instead of to standard output; .zst, .gz, .xz, .bz2 and .lz4 compress. Mode 0600.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="Default: by the name of FILE, else json.",
)
@click.option(
    "--redact", is_flag=True, help="Replace names of tasks, paths, devices and hosts, equal ones alike."
)
def snapshot_command(
    arguments: TargetArguments, output: Path | None, format_: str | None, redact: bool
) -> int:
    """Export everything about TARGET's tasks, fs_structs, mounts and namespaces."""
    from explorer.output.files import check_writable, open_output

    arguments.name()
    if output is not None:
        check_writable(output)
    plugins = arguments.plugin_set()
    snapshot = read_snapshot(arguments, output=output, plugins=plugins)
    form = format_ or format_of(output)
    if redact:
        from explorer.output.redacted import redact_and_encode

        loaded = plugins.loaded
        broken = say_broken(loaded, snapshot)
        snapshot, content = redact_and_encode(snapshot, loaded.plugins, form)
        with open_output(output) as out:
            out.write(content)
        return max(broken, warn_of_errors(snapshot))
    with open_output(output) as out:
        write_snapshot(snapshot, out, form)
    return warn_of_errors(snapshot)


def format_of(output: Path | None) -> str:
    """The format that a file's name asks for."""
    if output is None:
        return "json"
    from explorer.compression import method_of_name

    method = method_of_name(output.name)
    name = output.name if method is None else output.name.removesuffix(method.suffix)
    suffix = Path(name).suffix.removeprefix(".")
    return suffix if suffix in ("jsonl", "csv") else "json"


def write_snapshot(snapshot: Snapshot, out: BinaryIO, format_: str) -> None:
    """Write a snapshot in one of :data:`FORMATS`."""
    from explorer.output.csvfile import write_csv
    from explorer.output.snapshots import write_json, write_jsonl

    {"json": write_json, "jsonl": write_jsonl, "csv": write_csv}[format_](snapshot, out)


def warn_of_errors(snapshot: Snapshot) -> int:
    """Exit code 4, and a line that says why, if values or tasks are missing."""
    from explorer.analysis.completeness import lost_tasks, task_count
    from explorer.model import escape_text

    lost = lost_tasks(snapshot)
    if lost is not None:
        why = escape_text(lost[:_MOST_WORDS])
        click.echo(f"nullfs-explorer: tasks are missing, there are {task_count(snapshot)}: {why}", err=True)
    if not snapshot.errors:
        return ExitCode.OK if lost is None else ExitCode.ERRORS

    first, count = snapshot.errors[0], len(snapshot.errors)
    click.echo(
        f"nullfs-explorer: {count} value{'s' * (count != 1)} could not be read; the first: "
        + ": ".join(escape_text(text[:_MOST_WORDS]) for text in (first.where, first.what, first.why)),
        err=True,
    )
    return ExitCode.ERRORS


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a snapshot."""
    from explorer.output.snapshots import snapshot_schema

    click.echo(json.dumps(snapshot_schema(), indent=2))
