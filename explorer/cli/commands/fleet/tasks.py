"""``fleet tasks``: a query over the tasks of all targets of a fleet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import fleet_tasks_output_options, terminal_width, width_option
from explorer.cli.process import ExitCode
from explorer.cli.where import where_option
from explorer.wire import PROGRAM

from .report import FLEET

if TYPE_CHECKING:
    from explorer.analysis.query import Query
    from explorer.fleet import Dataset
    from explorer.output.fleet import TaskForm

__all__ = ("tasks_command",)


@click.command(
    "tasks",
    cls=Documented,
    page="docs/fleet-report.md",
    epilog="Exit codes: 0 done, 2 wrong usage, 3 FLEET cannot be read, 4 a target, or values of one, could not be "
    "read, so that tasks may be missing.",
)
@click.argument("fleet", type=FLEET)
@where_option
@fleet_tasks_output_options
@width_option
def tasks_command(
    fleet: Path, where: Query | None, output: Path | None, format_: TaskForm | None, width: int | None
) -> int:
    """List the tasks of all targets of FLEET, or those that match.

    The query means what it means on one target. Rows are written as they are found; all of them are never in memory.
    """
    from explorer.analysis.query import parse_query
    from explorer.fleet import Dataset
    from explorer.fleet.query import find_tasks
    from explorer.output.fleet import columns_for, task_form_of_name, write_fleet_tasks

    dataset = Dataset.open(fleet)
    form = format_ or task_form_of_name(output)
    found = find_tasks(dataset, parse_query("") if where is None else where, columns_for(form))
    columns = terminal_width(width) if output is None else width
    write_fleet_tasks(found.batches, _paths_in(dataset), form, output, columns)
    return _warn_of_gaps(dataset)


def _paths_in(dataset: Dataset) -> Callable[[Any], Sequence[str | None]]:
    """What the paths of some targets are, by their keys."""
    from explorer.fleet.summary import looked_up

    targets = dataset.table("targets", ("key", "path"))

    def paths(keys: Any) -> Sequence[str | None]:
        found: list[str | None] = looked_up(keys, targets, ("path",))[0].to_pylist()
        return found

    return paths


def _warn_of_gaps(dataset: Dataset) -> int:
    """A line on stderr for targets that were not read, or not whole."""
    from explorer.fleet import Outcome
    from explorer.naming import count

    outcomes = dataset.table("targets", ("outcome",))["outcome"].to_pylist()
    bad = sum(outcome != Outcome.OK for outcome in outcomes)
    if not bad:
        return ExitCode.OK
    words = (
        f"{count(bad, 'target')} of {len(outcomes)} could not be read, or not whole: fleet report says why"
    )
    click.echo(f"{PROGRAM}: {words}", err=True)
    return ExitCode.ERRORS
