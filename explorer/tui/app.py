"""The app: composes what is read, what plays, the screens and the ways between them; keys, modes and themes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import BindingType
from textual.driver import Driver
from textual.screen import Screen
from textual.timer import Timer

from explorer.model import Snapshot
from explorer.tui.screens import BrowserScreen, FindingsScreen
from explorer.tui.screens.dialogs import LeaveScreen, TextScreen, help_screen
from explorer.tui.session import AcceptedFindings, Session, View, Viewing
from explorer.tui.widgets import TimelineBar

from .copying import Copier, copy_text
from .debug_info import debug_lines
from .faults import GuardedApp
from .keys import APP_KEYS, FRAME_KEYS
from .navigation import MODE_KEYS, MODES, Navigator
from .palette import open_palette, open_themes, palette_commands, view_commands
from .terminal import own_driver
from .themes import Look
from .typeahead import GO

__all__ = ("ExplorerApp",)

_TICK_S = 0.5


class ExplorerApp(GuardedApp):
    """Browses one snapshot at a time, and compares it with another."""

    TITLE = "nullfs-explorer"
    CSS_PATH = "app.tcss"
    # Textual declares these so.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]  # noqa: RUF012
    MODES: ClassVar[dict[str, Any]] = MODES
    BINDINGS: ClassVar[list[BindingType]] = [*FRAME_KEYS, *MODE_KEYS, *APP_KEYS]

    def __init__(self, session: Session | None = None, snapshot: Snapshot | None = None) -> None:
        super().__init__()
        session = session or Session()
        view = None if snapshot is None else View(snapshot, plugins=session.plugins)
        self.viewing = Viewing(session, self, view)
        self.source, self.player = self.viewing.source, self.viewing.player
        self.tracing, self.fleet = self.viewing.tracing, self.viewing.fleet
        self.accepted = AcceptedFindings(session.baseline)
        self._navigator = Navigator(self, self.viewing)
        self.go_to, self.go_back = self._navigator.go_to, self._navigator.go_back
        self.open_target, self.make_ready = self._navigator.open_target, self._navigator.make_ready
        self.filter_tasks = self.action_inside = self._navigator.filter_tasks
        self.show_finding = self._navigator.show_finding
        self.action_filter, self.action_compare = self._navigator.type_filter, self._navigator.compare
        self.show_mounts, self.compare_with = self._navigator.show_mounts, self._navigator.compare_with
        self.show_other, self.compare_later = self._navigator.show_other, self._navigator.compare_later
        self.action_kernel, self.action_locate = self._navigator.show_kernel, self._navigator.locate
        self.look = Look(self)
        self._copier = Copier(self)

    async def on_mount(self) -> None:
        # After fg the terminal is blank, and Textual would only send what changes.
        self.app_resume_signal.subscribe(self, lambda _: self._repaint())
        for complaint in self.look.watch():
            self.say(complaint)
        if self.accepted.problem is not None:
            self.say(self.accepted.problem)
        if self.view is not None:
            await self.show_mode("overview")
        self.set_interval(_TICK_S, self._tick)
        self.viewing.begin()

    def _repaint(self) -> None:
        self.refresh(layout=True)
        self.screen.refresh(layout=True)

    # -- what is shown ---------------------------------------------------------------------------------------

    @property
    def view(self) -> View | None:
        return self.viewing.view

    @property
    def status(self) -> str:
        status = self.viewing.status(paused=self._is_paused)
        return "  ".join(filter(None, (status, "" if self.mouse else "mouse off")))

    @property
    def marks(self) -> Mapping[tuple[str, int | None], str] | None:
        return self.viewing.marks

    @property
    def _is_paused(self) -> bool:
        """Nobody looks: the terminal says that it has not the focus. Suspended, the whole process stands still."""
        return not self.app_focus

    def _browser(self) -> BrowserScreen | None:
        """The screen that shows the view; ``None`` where another one does, or none is left as the app ends."""
        screens = self._screen_stacks.get(self._current_mode)
        return screens[-1] if screens and isinstance(screens[-1], BrowserScreen) else None

    def catch_up(self) -> None:
        self.title = self.viewing.title
        screen = self._browser()
        if screen is not None:
            screen.catch_up()

    def show_moment(self) -> None:
        if isinstance(self.screen, BrowserScreen):
            self.screen.show_moment()

    async def show_mode(self, mode: str) -> None:
        self.title = self.viewing.title
        await self._navigator.switch(mode)

    def _tick(self) -> None:
        self.viewing.tick(self._is_paused)
        screen = self._browser()
        if screen is not None:
            screen.show_status()

    def later(self, seconds: float, call: Callable[[], Awaitable[None]]) -> Timer:
        return self.set_timer(seconds, call)

    def go(self, work: Awaitable[Any]) -> None:
        self.run_worker(work, group=GO)

    def work(self, work: Awaitable[Any]) -> None:
        self.run_worker(work, group="reader")

    # -- reading ---------------------------------------------------------------------------------------------

    def action_refresh_target(self) -> None:
        self.viewing.read_again()

    def action_read_again(self) -> None:
        self.viewing.read()

    async def action_stop_reading(self) -> None:
        await self.source.target.cancel()

    def action_next_interval(self) -> None:
        self.source.next_interval()

    def action_set_interval_s(self, seconds: float | None) -> None:
        self.source.schedule.interval = seconds

    def action_open_sample(self) -> None:
        self.viewing.open_sample()

    def can_use_sudo(self) -> bool:
        # In a browser there is no terminal in which sudo could ask.
        return self.source.can_use_sudo(terminal=self._driver is not None and not self._driver.is_web)

    def action_record(self, do: str, *arguments: int) -> None:
        """What keys do with a recording: a method of the player."""
        getattr(self.player, do)(*arguments)

    def action_first_seen(self) -> None:
        finding = self.screen.finding() if isinstance(self.screen, FindingsScreen) else None
        if finding is not None:
            self.player.show_first(finding)

    @on(TimelineBar.Sought)
    def _sought(self, event: TimelineBar.Sought) -> None:
        self.player.seek(event.index)

    # -- going places ----------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that lead nowhere now are neither shown nor obeyed."""
        if action == "turn_mouse":
            return self._driver is None or not self._driver.is_web  # a browser's is its own
        if action == "stop_reading":
            return self.source.target.is_reading
        return self._navigator.leads_somewhere(action, self.player.playback is not None)

    async def action_browse(self, mode: str) -> None:
        await self._navigator.browse(mode)

    async def action_log(self) -> None:
        await self.action_browse("events" if self.player.playback is None else "timeline")

    def action_compare_with_another(self) -> None:
        self.compare_with("")

    async def action_back(self) -> None:
        await self._navigator.back()

    @property
    def way(self) -> Sequence[str]:
        return self._navigator.places.crumbs

    @property
    def other(self) -> View | None:
        return self._navigator.other

    # -- help, themes, the terminal, copying ---------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.notify(text, markup=False)

    def action_help(self) -> None:
        self.push_screen(help_screen(self))

    def action_debug_info(self) -> None:
        lines = debug_lines(self, self.source.session, self.view, self.faults)
        self.push_screen(TextScreen("debug info: for a bug report; c copies it", lines))

    def action_command_palette(self) -> None:
        open_palette(self)

    def search_themes(self) -> None:
        open_themes(self)

    def action_next_theme(self) -> None:
        self.say(f"theme {self.look.next_theme()}")

    def get_driver_class(self) -> type[Driver]:
        return own_driver(super().get_driver_class())

    @property
    def mouse(self) -> bool:
        """Whether the app has it."""
        return self.look.mouse

    def action_turn_mouse(self) -> None:
        self.look.turn_mouse(self._driver)
        self.catch_up()

    def copy_text(self, text: str) -> None:
        copy_text(self, text)

    async def action_copy_or_leave(self) -> None:
        if isinstance(self.screen, LeaveScreen):
            self.exit()
        elif not await self._copier.copy_selected():
            self.push_screen(LeaveScreen())

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        yield from palette_commands(self, screen, self.view is not None, self.source.session.running)
        if self.view is not None:
            yield from view_commands(self.look.views, self._navigator.show_saved, self.look.forget_view)
