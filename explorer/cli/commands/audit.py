"""``audit``: what is wrong, with an exit code for scripts; ``explain``: what a rule means."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from explorer.cli.accepting import (
    IgnoredRule,
    IgnoreType,
    check_baseline_name,
    check_rule,
    load_accepted,
    make_acceptance,
    save_baseline,
)
from explorer.cli.completion import complete_rules
from explorer.cli.documented import Documented
from explorer.cli.formats import fail_on_option, format_option
from explorer.cli.process import ExitCode, warn_of_errors
from explorer.cli.streams import escape_lines
from explorer.cli.targets import TargetArguments, plugin_option, read_named_snapshot, target_options
from explorer.cli.where import where_option
from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from explorer.analysis import Acceptance, AuditReport
    from explorer.analysis.query import Query
    from explorer.model import Snapshot
    from explorer.plugin import PluginSet

__all__ = ("audit_command", "explain_command")

_PIPE_WIDTH = 80


def _width() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH


_BASELINE = click.Path(path_type=Path, readable=False)


@dataclass(frozen=True, slots=True)
class _Accepting:
    """Which findings do not count."""

    baseline: Path | None
    write_baseline: Path | None
    ignore: tuple[IgnoredRule, ...]


@click.command(
    "audit",
    cls=Documented,
    page="docs/audit.md",
    epilog="Exit codes: 0 no finding reaches the threshold, 1 one does, 2 wrong usage, 3 target cannot be opened, "
    "4 none does, but values could not be read, so that there might be one. Findings that are accepted do not count.",
)
@target_options
@fail_on_option
@format_option("json", "sarif", "junit", "markdown")
@click.option(
    "--only",
    multiple=True,
    metavar="RULE",
    shell_complete=complete_rules,
    help="Only this rule (as explain lists them). Repeatable.",
)
@where_option
@click.option("--baseline", type=_BASELINE, metavar="FILE", help="Findings in this file are accepted.")
@click.option(
    "--ignore",
    multiple=True,
    type=IgnoreType(),
    shell_complete=complete_rules,
    metavar="RULE[:QUERY]",
    help="Findings of this rule are accepted; with a query, those about tasks that match. Repeatable.",
)
@click.option(
    "--write-baseline",
    type=_BASELINE,
    metavar="FILE",
    help="Accept all that reaches the threshold now, and what --baseline accepts: write it to this file.",
)
@click.option(
    "--all", "unfolded", is_flag=True, help="Every finding, also of one rule, and what is accepted."
)
def audit_command(
    arguments: TargetArguments,
    fail_on: str,
    format_: Literal["text", "json", "sarif", "junit", "markdown"],
    only: tuple[str, ...],
    where: Query | None,
    unfolded: bool,
    **accepting: Any,
) -> int:
    """Say what is wrong with TARGET: whether isolation holds, who breaks it, who is failing now.

    With --where, only findings about tasks that match.
    """
    from explorer.analysis import FoundObjects, accept_findings, audit_with
    from explorer.model import Severity

    asked = _Accepting(**accepting)
    arguments.name()
    plugins = arguments.plugin_set()
    for rule, option in (*((rule, "--only") for rule in only), *((i.rule, "--ignore") for i in asked.ignore)):
        check_rule(rule, option, plugins)
    baseline = load_accepted(asked.baseline)
    if asked.write_baseline is not None:
        check_baseline_name(asked.write_baseline)
    snapshot, name = read_named_snapshot(arguments, output=asked.write_baseline, plugins=plugins)
    report = audit_with(plugins, snapshot, only)  # imports them: by now root's rights have been given up
    found = FoundObjects(report.findings, snapshot)
    acceptance = make_acceptance(found, baseline, asked.baseline, asked.ignore, snapshot)
    if acceptance is not None:
        accept_findings(report, snapshot, acceptance, only)
    if where is not None:
        _select(report, snapshot, where)
    if asked.write_baseline is not None:
        save_baseline(asked.write_baseline, report, found, baseline, Severity(fail_on))
    code = _exit_code(snapshot, report, fail_on)
    if format_ == "markdown":
        _print_markdown(snapshot, report, name)
    elif format_ == "junit":
        from explorer.output.pipelines import junit_document

        click.echo(junit_document(snapshot, report, Severity(fail_on), only))
    elif format_ == "text":
        from explorer.output import render_findings

        click.echo("\n".join(render_findings(snapshot, report, name, _width(), unfolded=unfolded)))
    else:
        click.echo(_document(snapshot, report, format_, code, acceptance))
    for trace in report.tracebacks if arguments.debug else ():
        click.echo(escape_lines(trace), err=True)
    for error in report.errors:
        click.echo(f"{PROGRAM}: {escape_lines(f'{error.where}: {error.what}: {error.why}')}", err=True)
    warn_of_errors(snapshot)
    return code


def _select(report: AuditReport, snapshot: Snapshot, where: Query) -> None:
    """Leave out what is about other tasks."""
    from explorer.analysis import select_findings

    selected = select_findings(report.findings, snapshot, where.bind(snapshot))
    report.hidden = len(report.findings) - len(selected)
    report.findings = selected


def _exit_code(snapshot: Snapshot, report: AuditReport, fail_on: str) -> int:
    """A finding that counts outweighs what could not be read; without one, a gap is no clean bill."""
    from explorer.analysis import lost_tasks
    from explorer.model import Severity

    worst = report.worst()
    if worst is not None and worst.reaches(Severity(fail_on)):
        return ExitCode.FOUND
    missing = snapshot.errors or report.errors or lost_tasks(snapshot) is not None
    return ExitCode.ERRORS if missing else ExitCode.OK


def _document(
    snapshot: Snapshot, report: AuditReport, format_: str, code: int, acceptance: Acceptance | None
) -> str:
    from explorer.output import findings_document, sarif_log, write_findings

    if format_ == "json":
        return write_findings(findings_document(snapshot, report))
    return write_findings(sarif_log(snapshot, report, code, acceptance))


def _print_markdown(snapshot: Snapshot, report: AuditReport, name: str) -> None:
    from explorer.output import findings_heading, findings_table, print_markdown

    print_markdown("Findings", findings_table(report), findings_heading(snapshot, name))


@click.command("explain", cls=Documented, page="docs/audit.md")
@click.argument("rule", required=False, shell_complete=complete_rules)
@plugin_option("Rules of this plugin, too: a Python file, which is read and not run.")
def explain_command(rule: str | None, plugins: tuple[Path, ...]) -> None:
    """Say what RULE means and what to do about it; without RULE, list all rules.

    Those of traces begin with NX-LOOKUP. Those of plugins are read from their sources: their ids begin with NX- and the
    plugin's name.
    """
    from explorer.analysis.lookups import LOOKUP_RULES
    from explorer.analysis.rules import RULES, find_rule
    from explorer.output import render_lookup_rule, render_plugin_rules, render_rule, render_rules
    from explorer.plugin import PluginSet, explain_rules

    known = PluginSet(plugins)
    _check_has_rules(plugins)
    if rule is None:
        lines = [*render_rules(RULES, _width()), *render_rules(LOOKUP_RULES, _width())]
        lines += render_plugin_rules(explain_rules(known), _width())
    elif of_trace := [each for each in LOOKUP_RULES if each.id == rule.upper()]:
        lines = render_lookup_rule(of_trace[0], _width())
    else:
        try:
            lines = render_rule(find_rule(rule), _width())
        except KeyError:
            lines = _explain_plugins(rule, known)
    click.echo("\n".join(lines))


def _check_has_rules(files: tuple[Path, ...]) -> None:
    """:raises click.BadParameter: for a file in which there is no rule to explain"""
    from explorer.model import escape_text
    from explorer.plugin import PluginSet, explain_rules

    ours = {rule.id for rule in explain_rules(PluginSet())}
    for path in files:
        if all(rule.id in ours for rule in explain_rules(PluginSet([path]))):
            raise click.BadParameter(
                f"{escape_text(str(path))} cannot be read, or its source has no finding: there is no rule to explain",
                param_hint="--plugin",
            )


def _explain_plugins(rule: str, plugins: PluginSet) -> list[str]:
    """:raises click.BadParameter: if no plugin has that rule"""
    from explorer.output import render_plugin_rule
    from explorer.plugin import explain_rules

    found = next((each for each in explain_rules(plugins) if each.id == rule.upper()), None)
    if found is not None:
        return render_plugin_rule(found, _width())
    name = plugins.name_of_rule(rule)
    of = "" if name is None else f" of the plugin {name}"
    raise click.BadParameter(f"no rule {rule}{of}: {PROGRAM} explain lists them.", param_hint="RULE")
