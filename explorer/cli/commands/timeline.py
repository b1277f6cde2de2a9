"""``timeline``: what happened in a recording; ``frame``: one of its frames as a snapshot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from explorer.cli.documented import Documented
from explorer.cli.formats import snapshot_format, snapshot_output_options
from explorer.cli.process import ExitCode, give_up_rights_but_for, warn_of_errors
from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from explorer.output import TimelineHead
    from explorer.recording import Recording

__all__ = ("frame_command", "timeline_command")

_FILE = click.Path(path_type=Path)


@click.command("timeline", cls=Documented, page="docs/recordings.md")
@click.argument("file", type=_FILE)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with a number per frame for every placement.")
def timeline_command(file: Path, as_json: bool) -> int:
    """Say what happened in the recording FILE: phases of the boot, events, and who borrowed init's fs for how long.

    Exit codes: 3 FILE is no recording, 4 it is cut off or damaged, and what came before that is shown.
    """
    from explorer.analysis.timeline import build_timeline
    from explorer.model import escape_text
    from explorer.output import render_timeline, timeline_json
    from explorer.recording import Recording
    from explorer.targets.dumps import readable_path

    _refuse_target(str(file))
    path = readable_path(str(file))
    give_up_rights_but_for(path)
    with Recording.open(path, str(file)) as recording:
        end = recording.end
        timeline = build_timeline(
            recording.still_frames(), None if end is None else (end.seconds, end.reason)
        )
        head = _head(recording)
    click.echo(timeline_json(timeline, head) if as_json else "\n".join(render_timeline(timeline, head)))
    if head.damage is None:
        return ExitCode.OK
    click.echo(f"{PROGRAM}: {escape_text(f'{file}: cut off or damaged: {head.damage}')}", err=True)
    return ExitCode.ERRORS


def _refuse_target(text: str) -> None:
    """A word for a target that other commands take is no file that is missing."""
    from os.path import lexists

    from explorer.targets import TargetError

    if (text in ("live", "proc", "sample") or text.startswith(("qemu:", "physmem:"))) and not lexists(text):
        raise TargetError(
            f"{text} is one moment and no recording: name a file that record wrote, such as boot.nxrec"
        )


def _head(recording: Recording) -> TimelineHead:
    from explorer.output import TimelineHead

    end = recording.end
    last = recording.times[-1] if recording.times else 0.0
    return TimelineHead(
        target=recording.name,
        kernels=[segment.release or "a kernel that was never readable" for segment in recording.segments],
        frames=len(recording),
        unreadable=sum(recording.unreadable),
        seconds=last if end is None else end.seconds,
        end=None if end is None else end.reason,
        damage=recording.damage,
    )


@click.command("frame", cls=Documented, page="docs/recordings.md")
@click.argument("file", type=_FILE)
@click.argument("moment", required=False)
@snapshot_output_options
def frame_command(file: Path, moment: str | None, output: Path | None, format_: str | None) -> int:
    """Export the frame of the recording FILE at MOMENT as a snapshot: @3.4s, or @#12; without it, the last one.

    FILE@3.4s is a target of every other command too: audit FILE@3.4s, diff FILE@3.4s FILE@9s.
    """
    from explorer.output import check_writable, open_output
    from explorer.recording import Recording
    from explorer.targets.dumps import readable_path

    if output is not None:
        check_writable(output)
    _refuse_target(str(file))
    path = readable_path(str(file))
    give_up_rights_but_for(path, output=output)
    with Recording.open(path, str(file)) as recording:
        snapshot = recording.snapshot_at(moment)
    form = snapshot_format(output, format_)
    with open_output(output) as out:
        form.write(snapshot, out)
    return warn_of_errors(snapshot)
