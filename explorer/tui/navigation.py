"""Going places: which screen shows what, and the way to it."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen

from explorer.model import Reference

from .faults import GuardedApp
from .screens.base import BrowserScreen
from .screens.info import TextScreen
from .screens.tables import FindingsScreen, TableScreen
from .screens.tasks import TasksScreen
from .session.state import View
from .views.detail import describe

__all__ = ("KERNEL", "TravelApp")

#: Where objects of a kind are at home.
_HOME_OF = {"task": "tasks", "fs_struct": "fs_structs", "mount": "mounts", "mount_namespace": "mounts",
            "plugin": "subsystems"}  # fmt: skip
KERNEL = Reference(kind="kernel", address=None, label="kernel")


class TravelApp(GuardedApp):
    """Knows what is shown, and leads to it. Workers that lead to another screen are of the group ``go``."""

    view: View | None = None

    async def action_browse(self, mode: str) -> None:
        if self.view is not None:
            await self.switch_mode(mode)

    async def open_screen(self, mode: str) -> Screen[Any]:
        """Switch to a mode's screen, and wait until it is there."""
        await self.switch_mode(mode)
        screen: Screen[Any] = self.screen
        if isinstance(screen, BrowserScreen):
            screen.catch_up()
        return screen

    async def action_filter(self) -> None:
        screen = await self.open_screen("tasks")
        if isinstance(screen, TasksScreen):
            screen.action_filter()

    def action_inside(self, query: str) -> None:
        self.run_worker(self._inside(query), group="go")

    async def _inside(self, query: str) -> None:
        screen = await self.open_screen("tasks")
        if isinstance(screen, TasksScreen):
            screen.filter_by(query)

    def show_finding(self, number: int) -> None:
        """Go to a finding."""
        self.run_worker(self._show_finding(number), group="go")

    async def _show_finding(self, number: int) -> None:
        screen = await self.open_screen("findings")
        if isinstance(screen, FindingsScreen):
            screen.show_finding(number)

    def go_to(self, reference: Reference) -> None:
        """Show an object in the screen where its like are."""
        self.run_worker(self._go_to(reference), group="go")

    async def _go_to(self, reference: Reference) -> None:
        mode = _HOME_OF.get(reference.kind)
        screen = None if mode is None else await self.open_screen(mode)
        if not isinstance(screen, TableScreen) or not screen.select(reference):
            self._show_object(reference)

    def _show_object(self, reference: Reference) -> None:
        if self.view is not None:
            detail = describe(reference, self.view.snapshot)
            lines = [f"{fact.name:<15} {fact.value}" for fact in detail.facts]
            self.push_screen(TextScreen(detail.title, lines))

    def action_kernel(self) -> None:
        self._show_object(KERNEL)
