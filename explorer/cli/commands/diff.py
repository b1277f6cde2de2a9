"""``diff``: what differs between two targets or snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from explorer.cli.completion import complete_targets
from explorer.cli.documented import Documented
from explorer.cli.formats import format_option
from explorer.cli.process import ExitCode, look_at_no_task, warn_of_errors
from explorer.cli.targets import TargetArguments, hold_all, is_given, read_named_snapshot, target_options

if TYPE_CHECKING:
    from explorer.model import Snapshot

__all__ = ("diff_command",)

_DIFFERENT = 1


@click.command("diff", cls=Documented, page="docs/audit.md")
@target_options
@click.argument("other", required=False, shell_complete=complete_targets())
@format_option("json")
def diff_command(arguments: TargetArguments, other: str | None, format_: str) -> int:
    """Say what differs in OTHER, seen from TARGET: tasks, who shares an fs_struct, mounts, namespaces, the kernel.

    Each is any target or a saved snapshot; the options apply to both. On one boot tasks are matched by pid and start
    time, across boots by name and kind. Exit codes: 0 no difference, 1 differences, 3 one cannot be opened,
    4 values could not be read, so that differences may be missing.
    """
    from explorer.analysis.diff import diff_snapshots
    from explorer.output import diff_json, render_diff

    sides = _two(arguments, other)
    hold_all(sides)
    (a, name), (b, other_name) = _load_frames(sides) or _read(sides)
    diff = diff_snapshots(a, b)
    if format_ == "json":
        click.echo(diff_json(diff))
    else:
        click.echo("\n".join(render_diff(diff, name, other_name)))
    if ExitCode.ERRORS in (warn_of_errors(a), warn_of_errors(b)):
        return ExitCode.ERRORS
    return _DIFFERENT if diff.differs else ExitCode.OK


def _load_frames(sides: Sequence[TargetArguments]) -> list[tuple[Snapshot, str]] | None:
    """Where both are frames of one recording, which share what did not change. ``None``: they are not."""
    if any(map(is_given, sides)):
        return None
    specs = [side.spec() for side in sides]
    if any(spec.kind != "recording" or spec.path != specs[0].path for spec in specs):
        return None
    from explorer.reading import load_frames

    return load_frames(*specs)


def _read(sides: Sequence[TargetArguments]) -> list[tuple[Snapshot, str]]:
    """Both, and what /proc tells first: what that takes is given up before anything else is parsed."""
    found = {}
    for place, side in sorted(enumerate(sides), key=lambda each: not each[1].is_proc):
        if not side.is_proc:
            look_at_no_task()
        found[place] = read_named_snapshot(side, is_held=True)
    return [found[place] for place in range(len(sides))]


def _two(arguments: TargetArguments, other: str | None) -> tuple[TargetArguments, TargetArguments]:
    """The two targets named: by --core, --kernel or --qemu first, then by position."""
    by_option = arguments._replace(target=None)
    positional = [name for name in (arguments.target, other) if name is not None]
    sides = [by_option] if by_option.is_named() else []
    sides += [arguments._replace(target=name, core=None, kernel=False, qemu=None) for name in positional]
    if len(sides) != 2:
        raise click.UsageError("Two targets or snapshots are needed: TARGET and OTHER.")
    for side in sides:
        side.name()  # --core and --qemu together are one too many
    return sides[0], sides[1]
