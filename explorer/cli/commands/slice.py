"""``slice``: a small vmcore from a large one."""

from __future__ import annotations

from pathlib import Path

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import OutputFile, redact_option
from explorer.cli.process import cache_no_more, parse_without_rights, warn_of_errors
from explorer.cli.progress import ProgressLine
from explorer.cli.targets import (
    TargetArguments,
    guard_reader,
    say_broken,
    target_options,
)
from explorer.model import escape_text

__all__ = ("slice_command",)


@click.command("slice", cls=Documented, page="docs/snapshot.md")
@target_options
@click.option(
    "-o",
    "--output",
    type=OutputFile(),
    metavar="MINI",
    required=True,
    help="The small vmcore; .zst, .gz, .xz, .bz2 and .lz4 compress. Mode 0600.",
)
@redact_option
def slice_command(arguments: TargetArguments, output: Path, redact: bool) -> int:
    """Write a small ELF vmcore with only the pages of TARGET that a full capture touches.

    It opens in this tool and in plain drgn, and gives the same snapshot as TARGET.
    """
    from explorer.output import check_writable, open_output

    arguments.name()
    check_writable(output)
    spec = arguments.spec()
    progress = ProgressLine()
    guard_reader(spec.text, progress)
    from explorer.capture import capture_errors
    from explorer.slicing import record_slice
    from explorer.targets import open_kernel

    try:
        options = arguments.open_options()
        parse_without_rights([(spec, options)], output)
        with open_kernel(spec, options, progress) as kernel:
            cache_no_more()
            with capture_errors(kernel):
                loaded = arguments.plugin_set().loaded
                broken, plugins = say_broken(loaded), loaded.plugins
                if redact:
                    from explorer.slicing import record, redact_slice

                    piece = redact_slice(record(kernel, progress, plugins), plugins)
                else:
                    piece = record_slice(kernel, progress, plugins)
            with open_output(output) as out:
                size = piece.write(out)
    finally:
        progress.clear()
    click.echo(
        f"{escape_text(str(output))}: {len(piece.pages)} pages, {size / 1e6:.1f} MB before compression, "
        f"{len(piece.snapshot.tasks)} tasks",
        err=True,
    )
    return max(broken, warn_of_errors(piece.snapshot))
