"""``snapshot``: export; ``schema``: what the export looks like."""

from __future__ import annotations

import json
from pathlib import Path

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import redact_option, snapshot_format, snapshot_output_options
from explorer.cli.process import warn_of_errors
from explorer.cli.targets import TargetArguments, read_named_snapshot, say_broken, target_options

__all__ = (
    "schema_command",
    "snapshot_command",
)


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


@click.command("schema", cls=Documented, page="docs/snapshot.md")
def schema_command() -> None:
    """Print the JSON Schema of a snapshot."""
    from explorer.codec import snapshot_schema

    click.echo(json.dumps(snapshot_schema(), indent=2))
