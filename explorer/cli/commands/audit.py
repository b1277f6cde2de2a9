"""``audit``: what is wrong, with an exit code for scripts; ``explain``: what a rule means."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import click

from explorer.cli.formats import format_option
from explorer.cli.process import ExitCode
from explorer.cli.targets import TargetArguments, escape_lines, read_named_snapshot, target_options
from explorer.cli.where import where_option
from explorer.wire import PROGRAM

from .snapshot import warn_of_errors

if TYPE_CHECKING:
    from explorer.analysis import AuditReport
    from explorer.analysis.query import Query
    from explorer.model import Snapshot
    from explorer.plugin import PluginSet

__all__ = ("audit_command", "explain_command")

_SEVERITIES = ("critical", "high", "medium", "low", "info")
_PIPE_WIDTH = 80


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH


@click.command(
    "audit",
    epilog="Exit codes: 0 no finding reaches the threshold, 1 one does, 2 wrong usage, 3 target cannot be opened, "
    "4 none does, but values could not be read, so that there might be one.",
)
@target_options
@click.option(
    "--fail-on",
    type=click.Choice(_SEVERITIES),
    default="medium",
    show_default=True,
    help="Exit with 1 for a finding as bad as this, or worse.",
)
@format_option("json", "sarif", "markdown")
@click.option(
    "--only", multiple=True, metavar="RULE", help="Only this rule (as explain lists them). Repeatable."
)
@where_option
def audit_command(
    arguments: TargetArguments,
    fail_on: str,
    format_: Literal["text", "json", "sarif", "markdown"],
    only: tuple[str, ...],
    where: Query | None,
) -> int:
    """Say what is wrong with TARGET: whether isolation holds, who breaks it, who is failing now.

    With --where, only findings about tasks that match.
    """
    from explorer.analysis import audit_with

    arguments.name()
    plugins = arguments.plugin_set()
    _check_rules(only, plugins)
    snapshot, name = read_named_snapshot(arguments, plugins=plugins)
    report = audit_with(plugins, snapshot, only)  # imports them: by now root's rights have been given up
    if where is not None:
        from explorer.analysis import select_findings

        selected = select_findings(report.findings, snapshot, where.bind(snapshot))
        report.hidden = len(report.findings) - len(selected)
        report.findings = selected
    code = _exit_code(snapshot, report, fail_on)
    if format_ == "markdown":
        _print_markdown(snapshot, report, name)
    else:
        click.echo(_render(snapshot, report, name, format_, code))
    for trace in report.tracebacks if arguments.debug else ():
        click.echo(escape_lines(trace), err=True)
    for error in report.errors:
        click.echo(f"{PROGRAM}: {escape_lines(f'{error.where}: {error.what}: {error.why}')}", err=True)
    warn_of_errors(snapshot)
    return code


def _check_rules(only: Sequence[str], plugins: PluginSet) -> None:
    """:raises click.BadParameter: for an id that no rule and no plugin's rule can have"""
    if not only:
        return
    from explorer.analysis.rules import RULES

    ids = {rule.id for rule in RULES}
    for rule_id in only:
        if rule_id.upper() not in ids and plugins.name_of_rule(rule_id) is None:
            raise click.BadParameter(
                f"no rule {rule_id}: nullfs-explorer explain lists them", param_hint="--only"
            )


def _exit_code(snapshot: Snapshot, report: AuditReport, fail_on: str) -> int:
    """A finding that counts outweighs what could not be read; without one, a gap is no clean bill."""
    from explorer.analysis import lost_tasks
    from explorer.model import Severity

    worst = report.worst()
    if worst is not None and worst.reaches(Severity(fail_on)):
        return ExitCode.FOUND
    missing = snapshot.errors or report.errors or lost_tasks(snapshot) is not None
    return ExitCode.ERRORS if missing else ExitCode.OK


def _render(snapshot: Snapshot, report: AuditReport, name: str, format_: str, code: int) -> str:
    from explorer.output import findings_document, render_findings, write_findings

    if format_ == "json":
        return write_findings(findings_document(snapshot, report))
    if format_ == "sarif":
        from explorer.output import sarif_log

        return write_findings(sarif_log(snapshot, report, code))
    return "\n".join(render_findings(snapshot, report, name, _width()))


def _print_markdown(snapshot: Snapshot, report: AuditReport, name: str) -> None:
    from explorer.output import findings_heading, findings_table, print_markdown

    print_markdown("Findings", findings_table(report), findings_heading(snapshot, name))


@click.command("explain")
@click.argument("rule", required=False)
def explain_command(rule: str | None) -> None:
    """Say what RULE means and what to do about it; without RULE, list all rules.

    Findings of plugins explain themselves: their ids begin with NX- and the plugin's name.
    """
    from explorer.analysis.rules import RULES, find_rule
    from explorer.output import render_rule, render_rules

    if rule is None:
        lines = render_rules(RULES, _width())
    else:
        try:
            lines = render_rule(find_rule(rule), _width())
        except KeyError:
            raise click.BadParameter(_unknown(rule), param_hint="RULE") from None
    click.echo("\n".join(lines))


def _unknown(rule: str) -> str:
    from explorer.plugin import PluginSet

    name = PluginSet().name_of_rule(rule)
    if name is not None:
        return f"{rule} is a rule of the plugin {name}: audit --format json explains each finding."
    return f"no rule {rule}: nullfs-explorer explain lists them."
