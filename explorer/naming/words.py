"""How findings, verdicts and events name things in a sentence. Kernel text stays unescaped: the output escapes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from explorer.model import Capture, Container, KernelText, PathRef, Snapshot, Task, known, task_name

__all__ = (
    "MOST_NAMES",
    "container_words",
    "count",
    "frame_words",
    "join_first",
    "join_names",
    "moment_words",
    "moments",
    "name_tasks",
    "place",
    "place_mount",
    "seconds",
    "utc_of",
)

#: Names in a title before "and N more".
MOST_NAMES = 3


def name_tasks(tasks: Sequence[Task]) -> KernelText:
    """``a (1), b (2) and c (3)``; of more than that, the first three ``and N more``."""
    return _join_some([task_name(task) for task in tasks[:MOST_NAMES]], len(tasks))


def join_first(names: Sequence[str]) -> str:
    """As :func:`join_names`; of more than three the first ``and N more``."""
    return _join_some(names[:MOST_NAMES], len(names))


def _join_some(names: Sequence[str], number: int) -> str:
    """The first of so many."""
    more = number - len(names)
    return join_names([*names, f"{more} more"] if more > 0 else names)


def join_names(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``: of one or more."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def count(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def frame_words(index: int, number: int) -> str:
    """``frame 1 of 150 (#0)``: which one it is, and by what a recording's name chooses it (``FILE@#0``)."""
    return f"frame {index + 1} of {number} (#{index})"


def place(path: PathRef | None, snapshot: Snapshot) -> KernelText:
    """``rootfs#2:/jail``: filesystem and mount id, then the path; the text alone is ``/`` for nearly everyone."""
    if path is None:
        return "?"
    # A filesystem that names itself (failfs:/) has said its type already.
    return f"{place_mount(path, snapshot)}:{known(path.path).removeprefix(f'{path.fstype}:')}"


def place_mount(path: PathRef, snapshot: Snapshot) -> KernelText:
    """``rootfs#2``: the filesystem of a path, and its mount's id if that is known of."""
    mount = snapshot.mount_by_address.get(path.mount)
    number = "" if mount is None else f"#{known(mount.id)}"
    return f"{known(path.fstype)}{number}"


def seconds(value: float) -> str:
    """A duration: ``0.3 s``, ``42 s``, ``5 min``, ``3 h``."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h"


def moments(capture: Capture) -> list[tuple[str, str]]:
    """What happened when: ``stopped`` (a dump's kernel, by its own clock) and ``read``; of a kernel that was there,
    both are one moment, ``taken``.

    Memory that was written out while the kernel ran did not stop: its clock is of some time while it was ``written``.
    """
    read = _moment(capture.taken_at)
    if capture.source.kind not in ("vmcore", "physmem"):
        return [("taken", read)]
    if capture.kernel_time is None:
        return [("read", read)]
    return [("stopped" if capture.consistent else "written", _moment(capture.kernel_time)), ("read", read)]


def moment_words(capture: Capture) -> str:
    """``stopped 2026-11-26 20:28:27 UTC, read 2026-11-27 09:00:00 UTC``; not escaped."""
    return ", ".join(f"{what} {when}" for what, when in moments(capture))


def _moment(iso: str) -> str:
    """``2026-11-26 20:28:27 UTC``; what is not of this program's making stays as it is, and is not escaped."""
    day, _, time = iso.partition("T")
    utc = time.endswith("+00:00") and len(time) >= 14
    return f"{day} {time[:8]} UTC" if utc else iso


def utc_of(iso: str) -> datetime | None:
    """A moment that a file tells, in UTC, of which it is where it names no zone; ``None``: it is none."""
    try:
        moment = datetime.fromisoformat(iso)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def container_words(container: Container | None) -> KernelText:
    """``docker 3f2a…``, in full; ``none``."""
    return "none" if container is None else f"{container.runtime.value} {container.id}"
