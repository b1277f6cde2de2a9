"""``--baseline``, ``--ignore`` and ``--write-baseline``: which findings are accepted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from explorer.analysis import Acceptance, AuditReport, FoundObjects
    from explorer.analysis.query import Query
    from explorer.model import Baseline, Severity, Snapshot
    from explorer.plugin import PluginSet

__all__ = (
    "IgnoreType",
    "IgnoredRule",
    "check_baseline_name",
    "check_kept_baseline",
    "check_rule",
    "kept_baseline_option",
    "load_accepted",
    "make_acceptance",
    "save_baseline",
)


@dataclass(frozen=True, slots=True)
class IgnoredRule:
    """``RULE``, or ``RULE:QUERY``."""

    rule: str
    query: Query | None
    words: str


class IgnoreType(click.ParamType["IgnoredRule"]):
    """A rule, and perhaps a query; a bad one ends the command before any target is opened."""

    name = "rule"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> IgnoredRule:
        from explorer.analysis.query import QueryError, parse_query

        if isinstance(value, IgnoredRule):
            return value
        rule, colon, text = value.partition(":")
        if colon and not text.strip():
            self.fail(f"{value}: a query is missing behind the colon", param, ctx)
        try:
            query = parse_query(text) if colon else None
        except QueryError as error:
            self.fail(f"column {len(rule) + 2 + error.position}\n\n{error.render()}", param, ctx)
        return IgnoredRule(rule.strip().upper(), query, f"--ignore {value}")


def check_rule(rule: str, option: str, plugins: PluginSet) -> None:
    """:raises click.BadParameter: for an id that no rule and no plugin's rule can have"""
    from explorer.analysis.rules import RULES

    if rule.upper() not in {known.id for known in RULES} and plugins.name_of_rule(rule) is None:
        raise click.BadParameter(f"no rule {rule}: {PROGRAM} explain lists them", param_hint=option)


def load_accepted(path: Path | None) -> Baseline | None:
    """What ``--baseline`` names. :raises click.BadParameter: if it is none"""
    if path is None:
        return None
    from explorer.codec import BaselineError, load_baseline

    try:
        return load_baseline(path)
    except BaselineError as error:
        raise click.BadParameter(str(error), param_hint="--baseline") from error


def check_baseline_name(path: Path, option: str = "--write-baseline") -> None:
    """Fail before the long work. :raises click.BadParameter: if no baseline can be written there, and read again"""
    from explorer.compression import method_of_name
    from explorer.output import OutputError, check_writable

    if method_of_name(path.name) is not None:
        raise click.BadParameter(
            f"{path}: a baseline is not compressed: end its name in .json", param_hint=option
        )
    try:
        check_writable(path)
    except OutputError as error:
        raise click.BadParameter(str(error), param_hint=option) from error


#: ``--baseline`` of the app, which also adds to it.
kept_baseline_option = click.option(
    "--baseline",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Accepted findings, as audit has them: the app reads them here, and adds what you accept.",
)


def check_kept_baseline(path: Path | None) -> None:
    """Fail before the app opens. :raises click.BadParameter: if what the app is to keep there cannot be kept there"""
    if path is None:
        return
    if os.path.lexists(path):
        load_accepted(path)
    else:
        check_baseline_name(path, "--baseline")  # it is made when a finding is accepted


def make_acceptance(
    found: FoundObjects,
    baseline: Baseline | None,
    path: Path | None,
    ignored: tuple[IgnoredRule, ...],
    snapshot: Snapshot,
) -> Acceptance | None:
    """What the options say, of this snapshot's tasks; ``None``: nothing was said.

    :param found: what all findings of the audit are about
    """
    if baseline is None and not ignored:
        return None
    from explorer.analysis import Acceptance, Ignored

    return Acceptance(
        found,
        baseline,
        "" if path is None else str(path),
        [
            Ignored(each.rule, each.words, None if each.query is None else each.query.bind(snapshot))
            for each in ignored
        ],
    )


def save_baseline(
    path: Path, report: AuditReport, found: FoundObjects, baseline: Baseline | None, threshold: Severity
) -> None:
    """Accept what counts now: it is added to what was accepted before. What is in the file from then on is accepted."""
    from explorer.analysis import baseline_of, entry_of
    from explorer.codec import write_baseline
    from explorer.model import escape_text
    from explorer.output import open_output

    counted = [
        finding
        for finding in report.findings
        if finding.accepted is None and finding.severity.reaches(threshold)
    ]
    before = [] if baseline is None else baseline.accepted
    written = baseline_of([*before, *(entry_of(finding, found) for finding in counted)])
    with open_output(path) as out:
        write_baseline(written, out)
    for place, finding in enumerate(report.findings):
        if any(finding is each for each in counted):
            report.findings[place] = finding.model_copy(update={"accepted": str(path)})
    name = escape_text(str(path))
    click.echo(
        f"{PROGRAM}: {name} accepts {len(written.accepted)} findings, {len(counted)} of them new", err=True
    )
