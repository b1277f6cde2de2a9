"""What a session asks of whoever shows it: an app, or a test."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = ("Alarm", "Host")


class Alarm(Protocol):
    """Something that will happen, and can be stopped before."""

    def stop(self) -> None: ...


class Host(Protocol):
    """Everything here is called in the thread in which the session was made."""

    def say(self, text: str) -> None:
        """A notice that goes away by itself; escaped."""

    def catch_up(self) -> None:
        """There is another view, or more to say of how far a reading is."""

    def show_moment(self) -> None:
        """A recording plays, plays no longer, or at another speed."""

    def later(self, seconds: float, call: Callable[[], Awaitable[None]]) -> Alarm:
        """Call something once, in a while."""

    async def show_mode(self, mode: str) -> None:
        """Show the screen ``reading``, ``overview``, ``lookups``, ``fleet`` or ``problem``."""

    async def make_ready(self, mode: str) -> None:
        """Make a screen that will be shown, before there is anything to show on it."""

    def compare_with(self, name: str) -> None:
        """Ask for a second target, beginning with this one."""

    def work(self, work: Awaitable[Any]) -> None:
        """Do what takes a while: nobody waits for it."""

    def go(self, work: Awaitable[Any]) -> None:
        """Do what leads to another view: keys that are typed in the meantime wait for it."""
