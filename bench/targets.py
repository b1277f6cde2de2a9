"""The large targets: guests of the tests' lab with many tasks, and dumps of them, kept in the lab's cache."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kernels import lab
from tests.kernels.lab import Guest, GuestOptions, boot_until, get_kernel
from tests.kernels.lab.cache import cache_dir, locked

__all__ = ("Crowd", "boot_crowd", "boot_idle", "dump_of", "dwarf_of")

_SOURCE = Path(lab.__file__).parent / "init" / "crowd.c"
_READY_TIMEOUT_S = 1200.0
_BOOT_ATTEMPTS = 5


@dataclass(frozen=True)
class Crowd:
    """A guest with ``tasks`` more tasks than an idle one: ``crowd`` forks them, ``threads`` are of one process.

    Those of ``sprawl`` are processes of some threads each.
    """

    scenario: str
    tasks: int
    memory_mb: int
    line: str = "7.3"
    more: str = ""
    """On the kernel command line, too."""

    @property
    def name(self) -> str:
        """What the tables call it."""
        what = "threads" if self.scenario == "threads" else "processes"
        return f"{self.tasks:,} {what}, {self.line}"


@contextlib.contextmanager
def boot_crowd(crowd: Crowd) -> Iterator[Guest]:
    """The guest, stopped when all its tasks are there."""
    with _boot_ready(crowd) as guest:
        guest.stop()
        yield guest


def _boot_ready(crowd: Crowd) -> Guest:
    """The lab boots again what dies early, as 6.12 does, but waits less long than a crowd takes."""
    options = GuestOptions(
        memory_mb=crowd.memory_mb, append=f"nx.tasks={crowd.tasks} {crowd.more}", wait=False
    )
    guest, _ = boot_until(
        lambda: Guest.boot(crowd.line, crowd.scenario, options),
        lambda made: made.wait_ready(_READY_TIMEOUT_S),
        crowd.name,
        _BOOT_ATTEMPTS,
    )
    return guest


@contextlib.contextmanager
def boot_idle(line: str = "7.3") -> Iterator[Guest]:
    """A guest that does nothing, stopped."""
    with Guest.boot(line, "healthy") as guest:
        guest.stop()
        yield guest


def dump_of(crowd: Crowd, form: str = "elf") -> Path:
    """A dump of the guest, made once for its kernel and the program that makes its tasks.

    :param form: as QEMU calls it: ``elf``, ``kdump-zlib``, ...
    """
    kernel = get_kernel(crowd.line)
    made_by = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:8]
    how = "".join(f"-{word.partition('=')[2]}" for word in crowd.more.split())
    name = f"{kernel.release}-{crowd.scenario}-{crowd.tasks}{how}-{crowd.memory_mb}-{made_by}.{form}"
    directory = cache_dir() / "bench"
    directory.mkdir(exist_ok=True)
    path = directory / name
    with locked(f"bench-{name}"):
        if not path.exists():
            for old in directory.glob(f"*-{crowd.scenario}-{crowd.tasks}{how}-{crowd.memory_mb}-*.{form}"):
                if old.name.startswith(kernel.release):
                    old.unlink()  # several GB, of a program that is no more
            with boot_crowd(crowd) as guest:
                guest.dump(path, form)
    return path


def dwarf_of(line: str) -> Path | None:
    """The vmlinux with DWARF of a line's newest kernel, if the lab has it (``... lab fetch --debug LINE``)."""
    return get_kernel(line).vmlinux
