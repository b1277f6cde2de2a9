"""``snapshot``: export; ``schema``: what the export looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import redact_option, snapshot_format, snapshot_output_options
from explorer.cli.process import ExitCode
from explorer.cli.targets import TargetArguments, read_named_snapshot, say_broken, target_options
from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from explorer.model import Snapshot

__all__ = (
    "schema_command",
    "snapshot_command",
    "warn_of_errors",
)

#: Of each part of an error that is shown on the terminal.
_MOST_WORDS = 250


@click.command("snapshot", cls=Documented, page="docs/snapshot.md")
@target_options
@snapshot_output_options
@redact_option
def snapshot_command(
    arguments: TargetArguments, output: Path | None, format_: str | None, redact: bool
) -> int:
    """Export everything about TARGET's tasks, fs_structs, mounts and namespaces."""
    from explorer.output import check_writable, open_output

    arguments.name()
    if output is not None:
        check_writable(output)
    plugins = arguments.plugin_set()
    snapshot, _ = read_named_snapshot(arguments, output=output, plugins=plugins)
    form = snapshot_format(output, format_)
    if redact:
        from explorer.output import redact_and_encode

        loaded = plugins.loaded
        broken = say_broken(loaded, snapshot)
        snapshot, content = redact_and_encode(snapshot, loaded.plugins, form)
        with open_output(output) as out:
            out.write(content)
        return max(broken, warn_of_errors(snapshot))
    with open_output(output) as out:
        form.write(snapshot, out)
    return warn_of_errors(snapshot)


def warn_of_errors(snapshot: Snapshot) -> int:
    """Exit code 4, and a line that says why, if values or tasks are missing."""
    from explorer.analysis import lost_tasks, task_count
    from explorer.model import escape_text

    lost = lost_tasks(snapshot)
    if lost is not None:
        why = escape_text(lost[:_MOST_WORDS])
        click.echo(f"{PROGRAM}: tasks are missing, there are {task_count(snapshot)}: {why}", err=True)
    if not snapshot.errors:
        return ExitCode.OK if lost is None else ExitCode.ERRORS

    first, count = snapshot.errors[0], len(snapshot.errors)
    click.echo(
        f"{PROGRAM}: {count} value{'s' * (count != 1)} could not be read; the first: "
        + ": ".join(escape_text(text[:_MOST_WORDS]) for text in (first.where, first.what, first.why)),
        err=True,
    )
    return ExitCode.ERRORS


@click.command("schema", cls=Documented, page="docs/snapshot.md")
def schema_command() -> None:
    """Print the JSON Schema of a snapshot."""
    from explorer.codec import snapshot_schema

    click.echo(json.dumps(snapshot_schema(), indent=2))
