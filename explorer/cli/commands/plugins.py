"""``plugins``: which subsystems are covered, what each needs, and whether a target has it."""

from __future__ import annotations

import click

from explorer.cli.formats import format_option
from explorer.cli.targets import TargetArguments, read_named_snapshot, target_options

__all__ = ("plugins_command",)


@click.command("plugins")
@target_options
@format_option("markdown")
def plugins_command(arguments: TargetArguments, format_: str) -> None:
    """List the plugins and what they need; with a TARGET, also whether it is there. Imports none of them."""
    from explorer.model import escape_text
    from explorer.output import Table, TableColumn, print_markdown

    plugins = arguments.plugin_set()
    snapshot = read_named_snapshot(arguments, plugins=plugins)[0] if arguments.is_named() else None
    columns = [TableColumn("PLUGIN"), TableColumn("NEEDS"), TableColumn("TITLE")]
    if snapshot is not None:
        columns.insert(2, TableColumn("HERE"))
    rows = []
    for listing in plugins.listings:
        modules = " or ".join(f"module {name}" for name in listing.needs_modules)
        needs = [part for part in (modules, *listing.needs_symbols) if part]
        row = [listing.name, " and ".join(needs) or "-", listing.title or f"unreadable: {listing.origin}"]
        if snapshot is not None:
            facts = snapshot.plugins.get(listing.name)
            row.insert(2, "not captured" if facts is None else str(facts.get("state")))
        rows.append([escape_text(cell) for cell in row])
    table = Table(columns, rows)
    if format_ == "markdown":
        print_markdown("Plugins", table)
    else:
        click.echo("\n".join(table.lines(None)))
