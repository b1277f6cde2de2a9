"""``tasks``: the task table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import format_option, terminal_width, width_option
from explorer.cli.process import warn_of_errors
from explorer.cli.targets import TargetArguments, read_named_snapshot, target_options
from explorer.cli.where import where_option

if TYPE_CHECKING:
    from explorer.analysis.query import Query

__all__ = ("tasks_command",)


@click.command("tasks", cls=Documented, page="docs/queries.md")
@target_options
@click.option("--all", "-a", "all_tasks", is_flag=True, help="One row per task instead of per fs_struct.")
@where_option
@format_option("markdown", hint=" JSON and CSV: see snapshot.")
@width_option
def tasks_command(
    arguments: TargetArguments,
    all_tasks: bool,
    where: Query | None,
    format_: Literal["text", "markdown"],
    width: int | None,
) -> int:
    """Show where every task of TARGET lives: one row per fs_struct, with its sharers folded.

    With --where, the fs_structs of which a sharer matches, and how many of how many do.
    """
    # It forks: the less is there, the less there are two of.
    snapshot, name = read_named_snapshot(arguments, only_tasks=True)

    from explorer.analysis import task_count
    from explorer.output import fit, render_summary, tasks_table, worlds_table, wrap_lines

    matches = None if where is None else where.bind(snapshot)
    summary = render_summary(snapshot, name)
    if matches is not None:
        summary.append(f"{sum(map(matches, snapshot.tasks))} of {task_count(snapshot)} match.")
    table = (tasks_table if all_tasks else worlds_table)(snapshot, matches)
    if format_ == "markdown":
        from explorer.output import print_markdown

        print_markdown("Tasks" if all_tasks else "fs_structs", table, summary)
    else:
        width = terminal_width(width)
        for line in [*wrap_lines(summary, width), "", *table.lines(width)]:
            click.echo(line if width is None else fit(line, width))
    return warn_of_errors(snapshot)
