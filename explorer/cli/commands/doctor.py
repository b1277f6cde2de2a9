"""``doctor``: what this machine offers."""

from __future__ import annotations

import click

from explorer.cli.documented import Documented
from explorer.cli.process import ExitCode, is_program, keep_only
from explorer.cli.progress import ProgressLine
from explorer.cli.targets import guard_reader

__all__ = ("doctor_command",)


@click.command("doctor", cls=Documented, page="docs/targets.md")
def doctor_command() -> int:
    """Say what this machine offers for reading kernels, and what to do about each lack."""
    guard = guard_reader("doctor", ProgressLine())
    from explorer.targets import Needs

    if is_program():
        keep_only(Needs(looks=True))
    from explorer.model import escape_text
    from explorer.targets import examine
    from explorer.tracing import examine_tracing
    from explorer.version import __version__

    guard.doing("it looked at this machine")
    checks = [*examine(), *examine_tracing()]
    click.echo(f"nullfs-explorer {__version__}")
    width = max(len(check.name) for check in checks)
    for check in checks:
        click.echo(f"  {'ok  ' if check.good else 'lack'}  {check.name:<{width}}  {escape_text(check.found)}")
        if check.remedy:
            click.echo(f"        {'':<{width}}  {escape_text(check.remedy)}")
    return ExitCode.OK
