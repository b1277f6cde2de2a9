"""A frame of a recording: one kernel at one time of several, or a time at which it could not be read yet."""

from __future__ import annotations

from dataclasses import dataclass

from .snapshot import Snapshot

__all__ = ("Frame",)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. The snapshot shares records with those of other frames: it is to be read, not changed."""

    index: int
    """From 0, over all segments."""
    seconds: float
    """Since the recording began, by the clock the kernel ran on: the time a guest was stopped does not count."""
    segment: int
    """Which boot: from 0, one more after each reboot or kexec."""
    snapshot: Snapshot | None
    """``None`` where the kernel could not be read."""
    why: str | None = None
    """Why it could not be read; ``None`` where it could."""
