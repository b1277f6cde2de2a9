"""What a screen may ask of the app. Screens know this, and never the app itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from textual.dom import DOMNode

from explorer.fleet import FleetTarget
from explorer.model import Reference
from explorer.tui.session import AcceptedFindings, ListedFleet, Player, Source, Tracing, View

from .faults import FaultLog
from .settings import SavedView

__all__ = ("Shell", "shell_of")


class Views(Protocol):
    """The views that are saved."""

    @property
    def views(self) -> list[SavedView]: ...

    def keep_view(self, view: SavedView) -> str | None:
        """Save one. What went wrong, or ``None``."""


class Shell(Protocol):
    """The app, as screens see it."""

    fault_log: FaultLog
    accepted: AcceptedFindings
    tracing: Tracing
    """The lookups that are seen: of a saved trace, or of the kernel that runs."""

    @property
    def fleet(self) -> ListedFleet:
        """The fleet that the app was opened with, if it was."""

    @property
    def look(self) -> Views:
        """What the user has set."""

    @property
    def view(self) -> View | None:
        """What is shown. It never changes: another one takes its place."""

    @property
    def other(self) -> View | None:
        """The second target, where there is one."""

    @property
    def source(self) -> Source:
        """Where the view comes from, and how far that is."""

    @property
    def player(self) -> Player:
        """The recording, if there is one."""

    @property
    def status(self) -> str:
        """How old the view is, and what has happened, for the header."""

    @property
    def marks(self) -> Mapping[tuple[str, int | None], str] | None:
        """What the tables mark as changed; ``None`` where nothing ever changes."""

    def say(self, text: str) -> None:
        """A notice that goes away by itself; kernel text in it is escaped already."""

    def copy_text(self, text: str) -> None:
        """To the clipboard, and to a file."""

    def go_to(self, reference: Reference) -> None:
        """Show an object in the screen where its like are."""

    def open_target(self, target: FleetTarget) -> None:
        """Show what was read of a target of the fleet."""

    def filter_tasks(self, query: str) -> None:
        """Show the tasks that a query selects."""

    def show_mounts(self, namespace: Reference) -> None:
        """Show the mounts of a namespace."""

    def show_finding(self, number: int) -> None:
        """Go to a finding."""

    def compare_later(self, other: View) -> None:
        """Compare with a second target that has been read, as soon as this screen is closed."""

    def can_use_sudo(self) -> bool:
        """Whether reading as root is a way on that has not been taken."""

    async def leave_fault(self, mode: str) -> None:
        """Make anew what has failed, and go to a mode."""


def shell_of(node: DOMNode) -> Shell:
    """The shell around a screen."""
    return cast(Shell, node.app)
