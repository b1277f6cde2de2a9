"""``keys``: every key of the screen by id, for whoever wants other ones."""

from __future__ import annotations

import click

from explorer.wire import PROGRAM

__all__ = ("keys_command",)


@click.command("keys")
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
