"""What can be added and changed. ``plugins``: which subsystems are covered, what each needs, and whether a target has
it; ``keys``: every key of the screen by id, for whoever wants other ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import format_option
from explorer.cli.process import ExitCode
from explorer.cli.targets import TargetArguments, read_named_snapshot, target_options
from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from explorer.model import Snapshot
    from explorer.plugin import PluginListing

__all__ = ("keys_command", "plugins_command")


@click.command("plugins", cls=Documented, page="docs/plugins.md")
@target_options
@format_option("markdown")
def plugins_command(arguments: TargetArguments, format_: str) -> int:
    """List the plugins and what they need: reads their sources, and imports none of them. With a TARGET, also whether
    what they need is there; a kernel is read by them, a saved snapshot is not.
    """
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
        row = [listing.name, " and ".join(needs) or "-", listing.title or _unreadable(listing)]
        if snapshot is not None:
            facts = snapshot.plugins.get(listing.name)
            row.insert(2, "not captured" if facts is None else str(facts.get("state")))
        rows.append([escape_text(cell) for cell in row])
    table = Table(columns, rows)
    if format_ == "markdown":
        print_markdown("Plugins", table)
    else:
        click.echo("\n".join(table.lines(None)))
    code = ExitCode.OK if all(listing.problem is None for listing in plugins.listings) else ExitCode.ERRORS
    return code if snapshot is None else max(code, _say_failed(snapshot))


def _say_failed(snapshot: Snapshot) -> int:
    """A line for whatever of the plugins' is missing in a snapshot; exit code 4 if anything is."""
    from explorer.model import escape_text

    failed = [
        error
        for error in snapshot.errors
        if error.where.startswith("plugin ") or (error.where, error.what) == ("capture", "the rest")
    ]
    for error in failed:
        click.echo(f"{PROGRAM}: {escape_text(f'{error.where}: {error.what}: {error.why}')}", err=True)
    return ExitCode.ERRORS if failed else ExitCode.OK


def _unreadable(listing: PluginListing) -> str:
    return f"unreadable: {listing.origin}: {listing.problem}"


@click.command("keys", cls=Documented, page="docs/screen.md")
def keys_command() -> None:
    """List every key of the terminal app: its id, the keys as they are now, and what it does.

    To change one, name its id in settings.json: {"keymap": {"go.tasks": "f5", "app.quit": "ctrl+q"}}.
    """
    from explorer.model import escape_text
    from explorer.output import TableColumn, render_table
    from explorer.tui import (
        apply_keymap,
        config_directory,
        declared_keys,
        keymap_complaint,
        load_settings,
        show_keys,
    )

    settings, complaint = load_settings()
    keymap = apply_keymap(settings.keymap)
    rows, seen = [], set()
    for key in declared_keys():
        row = [key.id, show_keys(keymap.get(key.id, key.keys)), key.sentence]
        if tuple(row) not in seen:
            seen.add(tuple(row))
            rows.append([escape_text(cell) for cell in row])
    for line in render_table(
        [TableColumn("ID"), TableColumn("KEYS"), TableColumn("WHAT IT DOES")], rows, None
    ):
        click.echo(line)
    click.echo(f"\nsettings: {escape_text(str(config_directory() / 'settings.json'))}", err=True)
    for problem in (complaint, keymap_complaint(settings.keymap)):
        if problem is not None:
            click.echo(f"{PROGRAM}: {escape_text(problem)}", err=True)
