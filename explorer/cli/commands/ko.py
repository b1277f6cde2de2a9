"""``ko``: does a kernel module look up paths from kernel context, and is it converted?"""

from __future__ import annotations

from pathlib import Path

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import format_option
from explorer.cli.process import ExitCode, give_up_rights_but_for
from explorer.cli.progress import ProgressLine
from explorer.cli.targets import guard_reader
from explorer.wire import PROGRAM

__all__ = ("ko_command",)

_EXPOSED = 1


@click.command("ko", cls=Documented, page="docs/audit.md")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.ko...")
@format_option("json")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def ko_command(files: tuple[Path, ...], format_: str, debug: bool) -> int:
    """Say of kernel modules (.ko, .ko.xz, .ko.zst, .ko.gz) whether they look up paths, and borrow init's fs for it.

    Judged by their undefined symbols: no kernel is needed. Exit codes: 0 none is exposed, 1 one or more look up
    paths and never borrow, 3 a file cannot be read.
    """
    guard = guard_reader("ko", ProgressLine())
    from explorer.analysis import CAVEAT, judge_module
    from explorer.model import ModuleVerdict, escape_text
    from explorer.output import modules_json, render_module
    from explorer.targets import TargetError
    from explorer.targets.symbols import read_module_file

    give_up_rights_but_for(*files)
    reports, unreadable = [], False
    for path in files:
        guard.doing(f"it read {path}")
        try:
            reports.append(judge_module(read_module_file(path)))
        except TargetError as error:
            if debug:
                raise
            unreadable = True
            click.echo(f"{PROGRAM}: {escape_text(str(error))}", err=True)
    if format_ == "json":
        click.echo(modules_json(reports))
    else:
        for report in reports:
            click.echo("\n".join(render_module(report)))
        if any(report.lookups for report in reports):
            click.echo(CAVEAT)
    if unreadable:
        return ExitCode.TARGET
    return _EXPOSED if any(report.verdict is ModuleVerdict.EXPOSED for report in reports) else ExitCode.OK
