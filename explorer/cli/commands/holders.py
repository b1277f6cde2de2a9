"""``mounts`` and ``namespaces``: what is mounted where; ``holders``: who holds a mount."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import (
    format_option,
    listing_options,
    print_listing,
    terminal_width,
    width_option,
)
from explorer.cli.process import ExitCode, warn_of_errors
from explorer.cli.targets import TargetArguments, read_named_snapshot, target_options

if TYPE_CHECKING:
    from collections.abc import Collection

    from explorer.model import Mount, MountNamespace, Snapshot
    from explorer.output.mounts import ListingForm

__all__ = ("holders_command", "mounts_command", "namespaces_command")


@click.command(
    "holders",
    cls=Documented,
    page="docs/audit.md",
    epilog="MOUNT is an id as in mountinfo, an address (0x…), or where it is mounted (/…: the topmost there). "
    "Exit codes: 0 every reference is explained, 1 one or more are not, 2 wrong usage or no such mount, 3 the target "
    "cannot be opened or does not have the holders, 4 something could not be read, so that there may be more.",
)
@target_options
@click.argument("mount", required=False)
@format_option("json")
@width_option
def holders_command(
    arguments: TargetArguments, mount: str | None, format_: Literal["text", "json"], width: int | None
) -> int:
    """Say who holds MOUNT of TARGET: roots and working directories, open files, programs that run, mapped files,
    sockets, mounts below, its namespace; and how many of its references nobody was found for.

    A saved snapshot has the holders of mounts that were unmounted lazily.
    """
    if mount is None and (arguments.core or arguments.kernel or arguments.qemu):  # the word is no target then
        mount, arguments = arguments.target, arguments._replace(target=None)
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
        width = terminal_width(width)
        lines = wrap_lines(render_books(found, found.holders, name), width)
        if found.holders.holders:
            lines += ["", *holders_table(found.holders, snapshot).lines(width)]
        for line in lines:
            click.echo(line if width is None else fit(line, width))
    if warn_of_errors(snapshot) or found.holders.missing is not None or found.holders.count is None:
        return ExitCode.ERRORS
    return ExitCode.FOUND if found.holders.unexplained else ExitCode.OK


@click.command(
    "namespaces",
    cls=Documented,
    page="docs/audit.md",
    epilog="KEPT BY names the tasks in it, or what keeps it without any: a mount of nsfs, an open file, an open mount "
    "table. DEPTH counts the mounts that lie on its /, one over the other; ROOT is the topmost. "
    "Exit codes: 0 done, 2 wrong usage or output not writable, 3 the target cannot be opened, 4 captured with errors.",
)
@target_options
@listing_options
def namespaces_command(
    arguments: TargetArguments, output: Path | None, format_: ListingForm | None, width: int | None
) -> int:
    """List every mount namespace of TARGET, those that no task is in too, and who keeps it."""
    from explorer.output import check_writable
    from explorer.output.mounts import namespaces_listing

    arguments.name()
    if output is not None:
        check_writable(output)
    snapshot, name = read_named_snapshot(arguments, output=output)
    print_listing(namespaces_listing(snapshot, name), output, format_, width)
    return warn_of_errors(snapshot)


@click.command(
    "mounts",
    cls=Documented,
    page="docs/audit.md",
    epilog="NAMESPACE is an inode number as in /proc/PID/ns/mnt, or an address (0x…). SOURCE is what mount(8) shows, "
    "or a device (254:1): all mounts of its filesystems are listed, wherever and under whatever name, and the "
    "holders of each are read; a saved snapshot has them of detached mounts alone. "
    "Exit codes: 0 done, 2 wrong usage, no such namespace or output not writable, 3 the target cannot be opened, 4 "
    "captured with errors.",
)
@target_options
@click.option("--namespace", metavar="NAMESPACE", help="Only what is mounted in this one.")
@click.option("--source", metavar="SOURCE", help="Only mounts of this source: who still holds it?")
@listing_options
def mounts_command(
    arguments: TargetArguments,
    namespace: str | None,
    source: str | None,
    output: Path | None,
    format_: ListingForm | None,
    width: int | None,
) -> int:
    """List the mounts of TARGET: of every namespace, and those that were unmounted and live on."""
    from explorer.analysis.mounts import mounts_of_source
    from explorer.output import check_writable
    from explorer.output.mounts import mounts_listing

    arguments.name()
    if source == "":
        raise click.BadParameter("an empty word: name a device, an export, …", param_hint="--source")
    if output is not None:
        check_writable(output)
    wanted = source

    def asked(found: Snapshot) -> Collection[int]:
        return [] if wanted is None else [mount.address for mount in mounts_of_source(wanted, found)]

    snapshot, name = read_named_snapshot(arguments, output=output, holders_of=asked)
    inside = None if namespace is None else _find_namespace(namespace, snapshot)
    print_listing(mounts_listing(snapshot, name, inside, source), output, format_, width)
    return warn_of_errors(snapshot)


def _find_namespace(text: str, snapshot: Snapshot) -> MountNamespace:
    from explorer.analysis.mounts import NamespaceNotFoundError, find_namespace

    try:
        return find_namespace(text, snapshot)
    except NamespaceNotFoundError as error:
        raise click.BadParameter(str(error), param_hint="--namespace") from error


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
