"""The app: its screens, the keys that work everywhere, themes, help and copying."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

from textual.app import SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from explorer.model import Snapshot, escape_text
from explorer.tui.keys import hidden, shown

from .debug_info import debug_lines
from .faults import FAULT_MODE
from .keymap import apply_keymap, keymap_complaint
from .palette import interval_commands, key_commands, sort_commands
from .screens.compare import CompareScreen
from .screens.events import EventsScreen
from .screens.fault import FaultScreen
from .screens.info import TextScreen, help_lines
from .screens.overview import OverviewScreen
from .screens.problem import ProblemScreen
from .screens.prompt import TargetPrompt
from .screens.reading import ReadingScreen
from .screens.subsystems import SubsystemsScreen
from .screens.tables import FindingsScreen, FsStructsScreen, MountsScreen
from .screens.tasks import TasksScreen
from .screens.timeline import TimelineScreen
from .session.player import PlayingApp
from .session.state import Session, View
from .settings import config_directory, load_settings, save_settings, write_clipboard
from .themes import THEME_CYCLE, THEMES

__all__ = ("ExplorerApp",)


class ExplorerApp(PlayingApp):
    """Browses one snapshot at a time, and compares it with another."""

    TITLE = "nullfs-explorer"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012  # textual declares it so
        (0, "-narrow"),
        (100, "-normal"),
        (150, "-wide"),
    ]
    MODES: ClassVar[dict[str, Any]] = {
        "overview": OverviewScreen,
        "tasks": TasksScreen,
        "fs_structs": FsStructsScreen,
        "mounts": MountsScreen,
        "subsystems": SubsystemsScreen,
        "findings": FindingsScreen,
        "events": EventsScreen,
        "compare": CompareScreen,
        "timeline": TimelineScreen,
        "reading": ReadingScreen,
        "problem": ProblemScreen,
        FAULT_MODE: FaultScreen,
    }
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]  # noqa: RUF012  # textual declares it so
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("o", "browse('overview')", "go.overview", "Overview", "The verdict and the worlds"),
        shown("t", "browse('tasks')", "go.tasks", "Tasks", "Every task, by fs_struct"),
        shown("f", "browse('fs_structs')", "go.fs_structs", "fs", "fs_structs: users, holders, root, pwd"),
        shown("m", "browse('mounts')", "go.mounts", "Mounts", "Mounts, a tree per namespace"),
        shown("s", "browse('subsystems')", "go.subsystems", "Subsys", "Subsystems: what the plugins report"),
        shown("n", "browse('findings')", "go.findings", "Findings", "What is wrong, worst first"),
        hidden(
            "L",
            "log",
            "go.events",
            "Event log: what changed since it is looked at; of a recording, all of it",
        ),
        hidden("equals_sign", "compare", "go.compare", "Compare with a second target"),
        hidden("K", "kernel", "app.kernel", "The kernel, the capture, what was not readable"),
        hidden("r", "refresh_target", "app.refresh", "Read the target again"),
        hidden("R", "next_interval", "app.interval", "Read again by itself: 1, 2, 5, 10 s, off"),
        hidden("X", "stop_reading", "app.stop", "Stop reading again"),
        hidden("T", "next_theme", "app.theme", "The next theme; it is remembered"),
        hidden("ctrl+z", "suspend_process", "app.suspend", "To the shell; fg comes back"),
        hidden("exclamation_mark", "debug_info", "app.debug", "For a bug report"),
        shown("question_mark", "help", "app.help", "Help", "The keys that work here"),
        shown("q", "quit", "app.quit", "Quit", "End the app"),
    ]

    def __init__(self, session: Session | None = None, snapshot: Snapshot | None = None) -> None:
        session = session or Session()
        super().__init__(session, None if snapshot is None else View(snapshot, plugins=session.plugins))
        self.other: View | None = None
        """The second target, where there is one."""
        self.settings, self._complaint = load_settings()
        for theme in THEMES:
            self.register_theme(theme)
        if self.settings.theme in self.available_themes:
            self.theme = self.settings.theme
        self.set_keymap(apply_keymap(self.settings.keymap))

    async def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))
        # After fg the terminal is blank, and Textual would only send what changes.
        self.app_resume_signal.subscribe(self, lambda _: self._repaint())
        for complaint in (self._complaint, keymap_complaint(self.settings.keymap)):
            if complaint is not None:
                self.say(escape_text(complaint))
        if self.view is not None:
            self.name_window()
            await self.switch_mode("overview")
        self.start_reading()

    def _repaint(self) -> None:
        self.refresh(layout=True)
        self.screen.refresh(layout=True)

    async def action_log(self) -> None:
        await self.action_browse("events" if self.playback is None else "timeline")

    # -- comparing -------------------------------------------------------------------------------------------

    async def action_compare(self) -> None:
        """The comparison, if there is one; on its own screen, or where there is none, ask for a second target."""
        if self.other is not None and self.current_mode != "compare":
            await self.switch_mode("compare")
        else:
            self.push_screen(TargetPrompt(""))

    def compare_with(self, name: str) -> None:
        self.push_screen(TargetPrompt(name))

    async def show_other(self, other: View) -> None:
        """Compare with a second target that has been read."""
        self.other = other
        await self.open_screen("compare")

    # -- help, themes, copying -------------------------------------------------------------------------------

    def action_set_interval_s(self, seconds: float | None) -> None:
        self.schedule.interval = seconds

    def action_help(self) -> None:
        bindings = list(self.screen.active_bindings.values())
        keys = {active.binding.key: self.get_key_display(active.binding) for active in bindings}
        self.push_screen(TextScreen("keys that work here", help_lines(bindings, keys)))

    def action_debug_info(self) -> None:
        self.push_screen(TextScreen("debug info: for a bug report; c copies it", debug_lines(self)))

    def action_next_theme(self) -> None:
        names = [name for name in THEME_CYCLE if name in self.available_themes]
        position = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(position + 1) % len(names)]
        self.say(f"theme {self.theme}")

    def _remember_theme(self, name: str) -> None:
        if name != self.settings.theme:
            self.settings = replace(self.settings, theme=name)
            problem = save_settings(self.settings)
            if problem is not None:
                self.say(f"The theme is not remembered: {problem}")

    def copy_text(self, text: str) -> None:
        """To the clipboard of the terminal (OSC 52), and to a file for terminals that refuse it."""
        self.copy_to_clipboard(text)
        problem = write_clipboard(text)
        where = problem or str(config_directory() / "copied.txt")
        shown = text if len(text) <= 200 else f"{text[:200]}…"
        self.notify(f"{shown}\n\nalso in {escape_text(where)}", title="copied", markup=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette."""
        yield from key_commands(self, screen)
        yield from sort_commands(screen)
        if self.session.running and self.view is not None:
            yield from interval_commands(self)
        if self.view is not None:
            yield SystemCommand("Compare with another target", "A second kernel", self._ask_again)
        yield SystemCommand("Theme", "Choose from all themes", self.action_change_theme)

    def _ask_again(self) -> None:
        self.compare_with("")
