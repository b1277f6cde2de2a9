"""When to read a kernel that runs again: at an interval, later after failures, never while it is being read."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("INTERVALS", "Schedule", "age")

#: What the key goes through, in seconds; ``None``: only by hand.
INTERVALS: tuple[float | None, ...] = (None, 1.0, 2.0, 5.0, 10.0)
_LONGEST_S = 60.0


@dataclass(slots=True)
class Schedule:
    """Counts from the end of a reading, so that a slow target has its pause, too. Times are of one steady clock."""

    interval: float | None = None
    """Seconds; ``None``: never by itself."""
    failures: int = 0
    """Readings that failed since one did not."""
    _ended: float = 0.0

    @property
    def wait_s(self) -> float | None:
        """How long to wait after a reading: twice as long after each failure, up to a minute."""
        if self.interval is None:
            return None
        return max(self.interval, min(_LONGEST_S, self.interval * float(2 ** min(self.failures, 10))))

    def ended(self, now: float, ok: bool) -> None:
        """A reading has ended."""
        self.failures = 0 if ok else self.failures + 1
        self._ended = now

    def due_in(self, now: float) -> float | None:
        """Seconds until the next reading; ``None``: there will be none."""
        wait = self.wait_s
        return None if wait is None else max(0.0, self._ended + wait - now)

    def next_interval(self) -> None:
        """Choose the next of :data:`INTERVALS`."""
        later = [each for each in INTERVALS if each is not None and each > (self.interval or 0.0)]
        self.interval = later[0] if later else None


def age(seconds: float) -> str:
    """``3 s old``, ``12 min old``."""
    if seconds < 120:
        return f"{seconds:.0f} s old"
    return f"{seconds / 60:.0f} min old" if seconds < 7200 else f"{seconds / 3600:.0f} h old"
