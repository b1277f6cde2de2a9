"""``fleet``: many targets at once. Each of its commands is a module of this package, imported when it is used."""

from __future__ import annotations

import importlib

import click

from explorer.cli.documented import DocumentedGroup

__all__ = ("fleet_command", "fleet_reader_command")

#: Subcommand -> what help says of it. It is ``NAME_command`` of the module of its name.
_COMMANDS = {
    "run": "Read many targets into one Parquet dataset.",
    "report": "Say what a fleet's targets have in common, and what only some have.",
    "tasks": "List the tasks of all targets that match a query.",
}


class _FleetGroup(DocumentedGroup):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group("fleet", cls=_FleetGroup, summaries=_COMMANDS, page="docs/fleet.md")
def fleet_command() -> None:
    """Many targets in one dataset: every vmcore, slice, snapshot and recording a row."""


@click.command("fleet-reader", hidden=True)
def fleet_reader_command() -> None:
    """For a fleet's workers: read targets as standard input asks, one after the other."""
    from explorer.fleet.running import serve_readings

    serve_readings()
