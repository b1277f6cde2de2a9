"""``fleet report``: what is said of all targets of a fleet together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import fail_on_option, fleet_report_output_options, terminal_width, width_option
from explorer.cli.process import ExitCode

if TYPE_CHECKING:
    from explorer.fleet.summary import FleetSummary
    from explorer.output.fleet import ReportForm

__all__ = ("FLEET", "report_command")

#: A fleet's directory; what is wrong with one is said by whoever reads it.
FLEET = click.Path(path_type=Path, readable=False)


@click.command(
    "report",
    cls=Documented,
    page="docs/fleet-report.md",
    epilog="Exit codes, as audit's: 0 no finding reaches the threshold, 1 one does, 2 wrong usage, 3 FLEET cannot be "
    "read, 4 none does, but a target, or values of one, could not be read, so that there might be one. With --against "
    "only findings count that OTHER has not.",
)
@click.argument("fleet", type=FLEET)
@click.option(
    "--against", type=FLEET, metavar="OTHER", help="Say what is new, gone and changed since this fleet."
)
@fail_on_option
@fleet_report_output_options
@width_option
def report_command(
    fleet: Path,
    against: Path | None,
    fail_on: str,
    output: Path | None,
    format_: ReportForm | None,
    width: int | None,
) -> int:
    """Say what the targets of FLEET have in common, and what only some have.

    FLEET is a dataset that fleet run made. Verdicts by kernel release, findings by rule and on which targets, what only
    one release has, targets unlike their like, who is behind the borrowers, and what could not be read.
    """
    from explorer.fleet import Dataset
    from explorer.fleet.summary import summarise, tell_findings
    from explorer.output.fleet import report_form_of_name, write_report

    dataset = Dataset.open(fleet)
    other = None if against is None else Dataset.open(against)
    form = format_ or report_form_of_name(output)
    summary = summarise(dataset, other)
    code = _exit_code(summary, fail_on)
    told = tell_findings(dataset, other) if form == "sarif" else None
    write_report(summary, told, code, form, output, terminal_width(width) if output is None else width)
    return code


def _exit_code(summary: FleetSummary, fail_on: str) -> int:
    """A finding that counts outweighs what could not be read; without one, a gap is no clean bill."""
    from explorer.fleet import Outcome
    from explorer.model import Severity

    threshold = Severity(fail_on)
    if any(Severity(severity).reaches(threshold) for severity in summary.counted):
        return ExitCode.FOUND
    is_whole = summary.outcomes.get(Outcome.OK, 0) == summary.targets
    return ExitCode.OK if is_whole else ExitCode.ERRORS
