"""``holders``: who holds a mount."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from typing import TYPE_CHECKING, Literal

import click

from explorer.cli.formats import format_option
from explorer.cli.process import ExitCode
from explorer.cli.targets import TargetArguments, read_named_snapshot, target_options

from .snapshot import warn_of_errors

if TYPE_CHECKING:
    from collections.abc import Collection

    from explorer.model import Mount, Snapshot

__all__ = ("holders_command",)


@click.command(
    "holders",
    epilog="MOUNT is an id as in mountinfo, an address (0x…), or where it is mounted (/…: the topmost there). "
    "Exit codes: 0 every reference is explained, 1 one or more are not, 2 wrong usage or no such mount, 3 the target "
    "cannot be opened or does not have the holders, 4 something could not be read, so that there may be more.",
)
@target_options
@click.argument("mount", required=False)
@format_option("json")
@click.option(
    "--width", type=click.IntRange(40), help="Columns; default: the terminal's, unlimited in a pipe."
)
def holders_command(
    arguments: TargetArguments, mount: str | None, format_: Literal["text", "json"], width: int | None
) -> int:
    """Say who holds MOUNT of TARGET: roots and working directories, open files, programs that run, mapped files,
    sockets, mounts below, its namespace; and how many of its references nobody was found for.

    A saved snapshot has the holders of mounts that were unmounted lazily.
    """
    if mount is None and (arguments.core or arguments.kernel or arguments.qemu):  # the word is no target then
        mount, arguments = arguments.target, dataclasses.replace(arguments, target=None)
    if mount is None:
        raise click.UsageError("Missing MOUNT: an id as in mountinfo, an address or a path.")
    arguments.name()
    from explorer.output import fit, holders_json, holders_table, render_books, wrap_lines
    from explorer.targets import TargetError

    wanted = mount
    snapshot, name = read_named_snapshot(arguments, holders_of=lambda found: _address(wanted, found))
    found = _find(wanted, snapshot)
    if found.holders is None:
        raise TargetError(_why_not(snapshot, name))
    if format_ == "json":
        click.echo(holders_json(found, found.holders, snapshot))
    else:
        if width is None and sys.stdout.isatty():
            width = shutil.get_terminal_size().columns
        lines = wrap_lines(render_books(found, found.holders, name), width)
        if found.holders.holders:
            lines += ["", *holders_table(found.holders, snapshot).lines(width)]
        for line in lines:
            click.echo(line if width is None else fit(line, width))
    if warn_of_errors(snapshot) or found.holders.missing is not None or found.holders.count is None:
        return ExitCode.ERRORS
    return ExitCode.FOUND if found.holders.unexplained else ExitCode.OK


def _address(text: str, snapshot: Snapshot) -> Collection[int]:
    """For the capture; that there is none is said behind it."""
    from explorer.analysis import MountNotFoundError, find_mount

    try:
        return (find_mount(text, snapshot).address,)
    except MountNotFoundError:
        return ()


def _find(text: str, snapshot: Snapshot) -> Mount:
    from explorer.analysis import MountNotFoundError, find_mount

    try:
        return find_mount(text, snapshot)
    except MountNotFoundError as error:
        raise click.BadParameter(str(error), param_hint="MOUNT") from error


def _why_not(snapshot: Snapshot, name: str) -> str:
    """Why there are no holders of a mount that is there."""
    if snapshot.capture.lost_mounts is not None:
        return f"{name}: who holds a mount is not in it: {snapshot.capture.lost_mounts}"
    return (
        f"{name}: the holders of this mount were not read; a saved snapshot has those of mounts that were unmounted "
        "lazily: ask the kernel it was taken of"
    )
