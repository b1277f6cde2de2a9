"""Which screen shows what, and the way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from textual.screen import Screen

from explorer.fleet import FleetTarget
from explorer.model import Reference, escape_text
from explorer.tui.screens import (
    BROWSED,
    BrowserScreen,
    FindingsScreen,
    MountsScreen,
    Place,
    Places,
    TableScreen,
    TasksScreen,
)
from explorer.tui.screens.dialogs import (
    FaultScreen,
    GoToPrompt,
    ProblemScreen,
    ReadingScreen,
    TargetPrompt,
    TextScreen,
)
from explorer.tui.session import View, Viewing
from explorer.tui.views.details import describe

from .faults import FAULT_MODE, HIDDEN_S, GuardedApp
from .settings import SavedView
from .typeahead import GO

__all__ = ("KERNEL", "MODES", "MODE_KEYS", "Navigator")

#: For so long it is hidden that a screen is shown which has been made already.
_SOON_S = 0.005

#: Every screen of the app, by its mode.
MODES: dict[str, Any] = {
    **{mode.name: mode.screen for mode in BROWSED},
    "reading": ReadingScreen,
    "problem": ProblemScreen,
    FAULT_MODE: FaultScreen,
}

_BROWSED = frozenset(mode.name for mode in BROWSED)
MODE_KEYS = [mode.key for mode in BROWSED if mode.key is not None]
#: Where objects of a kind are at home.
_HOME_OF = {kind: mode.name for mode in BROWSED for kind in mode.home_of}
_NEEDS_VIEW = frozenset(
    {"browse", "kernel", "refresh_target", "next_interval", "compare", "event_log", "locate"}
)
KERNEL = Reference(kind="kernel", address=None, label="kernel")


class Navigator:
    """Leads from screen to screen."""

    def __init__(self, app: GuardedApp, viewing: Viewing) -> None:
        """:param viewing: what is shown"""
        self._app = app
        self._viewing = viewing
        self.other: View | None = None
        """The second target, where there is one."""
        self.places = Places()

    async def make_ready(self, mode: str) -> None:
        """Make a screen that will be shown, before there is anything to show on it."""
        app = self._app
        await app._init_mode(mode)
        # Its styles are of now: Textual would parse all of the stylesheet again to know.
        app._screen_stacks[mode][0]._css_update_count = app._css_update_count

    async def switch(self, mode: str) -> None:
        """Show a screen: at once, if it has been made."""
        app, made = self._app, self._app._screen_stacks.get(mode, [])
        if made and isinstance(made[0], BrowserScreen):
            made[0].catch_up()  # what it shows is laid out and painted once then
        app.hides_for = _SOON_S if made else HIDDEN_S
        switched = app.switch_mode(mode)
        app.hides_for = HIDDEN_S
        await switched

    # -- where one was ---------------------------------------------------------------------------------------

    def _browser(self) -> BrowserScreen | None:
        """The screen that the view is seen on, whatever lies over it."""
        screen = self._app.screen_stack[0]
        return screen if isinstance(screen, BrowserScreen) and screen.is_there else None

    def _place(self) -> Place | None:
        screen = self._browser()
        return None if screen is None else screen.place()

    @asynccontextmanager
    async def _jump(self) -> AsyncIterator[None]:
        """Around what leads elsewhere: where one was is remembered, if one is elsewhere then."""
        before = self._place()
        yield
        screen = self._browser()
        if before is not None and screen is not None and screen.place() != before:
            self.places.leave(before)
            screen.show_header()

    def _go(self, way: Awaitable[None]) -> None:
        """Keys that come meanwhile wait for it."""

        async def jump() -> None:
            async with self._jump():
                await way

        self._app.run_worker(jump(), group=GO)

    def go_back(self) -> None:
        self._app.run_worker(self.back(), group=GO)

    async def back(self) -> None:
        """To where one came from: that screen, that row, and what was followed beside it; at last to the fleet."""
        place = self.places.back()
        if place is None and self._viewing.fleet.is_there and self._app.current_mode != "fleet":
            await self.open_screen("fleet")
            return
        if place is None:
            self._app.notify("This is where you began: there is nothing to go back to.", markup=False)
            return
        screen = await self.open_screen(place.mode)
        if not isinstance(screen, BrowserScreen):
            return
        if not screen.come_back(place) and place.selected is not None:
            gone = f"{place.selected.kind} {place.selected.label}"
            self._app.notify(f"{escape_text(gone)} is no longer there.", markup=False)
        screen.show_header()

    # -- the ways --------------------------------------------------------------------------------------------

    def leads_somewhere(self, action: str, plays: bool) -> bool:
        """Whether a key of the app is of use where one is. :param plays: a recording is shown"""
        if action in ("record", "first_seen"):
            return plays and (action == "record" or isinstance(self._app.screen, FindingsScreen))
        if action in ("browse", "back") and self._app.current_mode == FAULT_MODE:
            return False  # its own keys make the screen anew that failed
        if action == "back":
            return self._app.current_mode in _BROWSED
        if action == "browse":
            return self._viewing.shows_something
        return action not in _NEEDS_VIEW or self._viewing.view is not None

    async def browse(self, mode: str) -> None:
        """To a mode's screen, or say why it has nothing to show. That of lookups begins a trace."""
        why_not = self._viewing.why_not(mode)
        if why_not is not None:
            self._app.notify(why_not, markup=False)
            return
        if mode == "lookups" and not self._viewing.tracing.is_there:
            self._viewing.tracing.begin()
        async with self._jump():
            await self._app.switch_mode(mode)

    async def compare(self) -> None:
        """The comparison, if there is one; on its own screen, or where there is none, ask for a second target."""
        if self.other is not None and self._app.current_mode != "compare":
            async with self._jump():
                await self._app.switch_mode("compare")
        else:
            self.compare_with("")

    def compare_with(self, name: str) -> None:
        """Ask for a second target, beginning with this one."""
        self._app.push_screen(TargetPrompt(name))

    def open_target(self, target: FleetTarget) -> None:
        """From the fleet to what was read of one of its targets."""
        self._app.run_worker(self._open_target(target), group=GO)

    async def _open_target(self, target: FleetTarget) -> None:
        if await self._viewing.open_target(target):
            self.other = None
            self.places = Places()  # the others are of another target

    async def show_other(self, other: View) -> None:
        """Compare with a second target that has been read."""
        self.other = other
        async with self._jump():
            await self.open_screen("compare")

    def compare_later(self, other: View) -> None:
        """Compare with a second target that has been read, as soon as this screen is closed."""
        self._app.call_later(self.show_other, other)

    async def open_screen(self, mode: str) -> Screen[Any]:
        """Switch to a mode's screen, and wait until it is there."""
        await self._app.switch_mode(mode)
        screen: Screen[Any] = self._app.screen
        if isinstance(screen, BrowserScreen):
            screen.catch_up()
        return screen

    async def type_filter(self) -> None:
        """To the filter of the tasks."""
        async with self._jump():
            screen = await self.open_screen("tasks")
        if isinstance(screen, TasksScreen):
            screen.action_filter()

    def filter_tasks(self, query: str) -> None:
        self._go(self._filter_tasks(query))

    async def _filter_tasks(self, query: str) -> None:
        screen = await self.open_screen("tasks")
        if isinstance(screen, TasksScreen):
            screen.filter_by(query)

    def show_finding(self, number: int) -> None:
        self._go(self._show_finding(number))

    async def _show_finding(self, number: int) -> None:
        screen = await self.open_screen("findings")
        if isinstance(screen, FindingsScreen):
            screen.show_finding(number)

    def show_mounts(self, namespace: Reference) -> None:
        self._go(self._show_mounts(namespace))

    async def _show_mounts(self, namespace: Reference) -> None:
        screen = await self.open_screen("mounts")
        if isinstance(screen, MountsScreen):
            screen.show_only(namespace)
            screen.table.changed(0)

    def go_to(self, reference: Reference) -> None:
        self._go(self._go_to(reference))

    async def _go_to(self, reference: Reference) -> None:
        mode = _HOME_OF.get(reference.kind)
        screen = None if mode is None else await self.open_screen(mode)
        if not isinstance(screen, TableScreen) or not screen.select(reference):
            self.show_object(reference)

    def show_saved(self, view: SavedView) -> None:
        """The table of a saved view, as that has it."""
        self._go(self._show_saved(view))

    async def _show_saved(self, view: SavedView) -> None:
        screen = await self.open_screen(view.table) if view.table in _BROWSED else None
        if isinstance(screen, TableScreen):
            screen.show_saved(view)
        else:
            self._app.notify("This view is of no table that there is.", markup=False)

    def show_kernel(self) -> None:
        """The kernel, the capture, and what was not readable."""
        self.show_object(KERNEL)

    def locate(self) -> None:
        """Ask for an address, or another number that says where to go."""
        self._app.push_screen(GoToPrompt())

    def show_object(self, reference: Reference) -> None:
        """What is known of an object, over the screen."""
        view = self._viewing.view
        if view is not None:
            detail = describe(reference, view.snapshot)
            lines = [f"{fact.name:<15} {fact.value}" for fact in detail.facts]
            self._app.push_screen(TextScreen(detail.title, lines))
