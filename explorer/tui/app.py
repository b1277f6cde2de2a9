"""The app: which screen is shown, what is being read, and the keys that work everywhere."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import textual
from textual.app import App, SystemCommand
from textual.binding import BindingType
from textual.screen import Screen

from explorer import __version__
from explorer.model import Reference, Snapshot, escape_text
from explorer.tui.keys import hidden, shown

from .reader import Reader, ReaderFailure
from .screens.base import BrowserScreen
from .screens.info import TextScreen, help_lines
from .screens.overview import OverviewScreen
from .screens.problem import ProblemScreen
from .screens.reading import ReadingScreen
from .screens.tables import FindingsScreen, FsStructsScreen, MountsScreen, SubsystemsScreen, TableScreen
from .screens.tasks import TasksScreen
from .settings import config_directory, load_settings, save_settings, write_clipboard
from .state import Session, View
from .themes import THEME_CYCLE, THEMES
from .views.detail import describe

__all__ = ("ExplorerApp",)

_HOME_OF = {"task": "tasks", "fs_struct": "fs_structs", "mount": "mounts", "mount_namespace": "mounts",
            "plugin": "subsystems"}  # fmt: skip
_KERNEL = Reference(kind="kernel", address=None, label="kernel")


class ExplorerApp(App[None]):
    """Browses one snapshot at a time."""

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
        "reading": ReadingScreen,
        "problem": ProblemScreen,
    }
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]  # noqa: RUF012  # textual declares it so
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("o", "browse('overview')", "go.overview", "Overview", "The verdict and the worlds"),
        shown("t", "browse('tasks')", "go.tasks", "Tasks", "Every task, by fs_struct"),
        shown("f", "browse('fs_structs')", "go.fs_structs", "fs", "fs_structs: users, holders, root, pwd"),
        shown("m", "browse('mounts')", "go.mounts", "Mounts", "Mounts, a tree per namespace"),
        shown("s", "browse('subsystems')", "go.subsystems", "Subsys", "Subsystems: what the plugins report"),
        shown("n", "browse('findings')", "go.findings", "Findings", "What is wrong, worst first"),
        hidden("K", "kernel", "app.kernel", "The kernel, the capture, what was not readable"),
        hidden("r", "refresh_target", "app.refresh", "Read the target again"),
        hidden("X", "stop_reading", "app.stop", "Stop reading again"),
        hidden("T", "next_theme", "app.theme", "The next theme; it is remembered"),
        hidden("ctrl+z", "suspend_process", "app.suspend", "To the shell; fg comes back"),
        hidden("exclamation_mark", "debug_info", "app.debug", "For a bug report"),
        shown("question_mark", "help", "app.help", "Help", "The keys that work here"),
        shown("q", "quit", "app.quit", "Quit", "End the app"),
    ]

    def __init__(self, session: Session | None = None, snapshot: Snapshot | None = None) -> None:
        super().__init__()
        self.session = session or Session()
        self.view: View | None = None if snapshot is None else View(snapshot)
        self.failure = ""
        self.progress = ""
        self._reader: Reader | None = None
        self._prefix: tuple[str, ...] = ()
        self.settings, self._complaint = load_settings()
        for theme in THEMES:
            self.register_theme(theme)
        if self.settings.theme in self.available_themes:
            self.theme = self.settings.theme
        self.set_keymap(self.settings.keymap)

    @property
    def activity(self) -> str:
        """What is going on, for the header: empty when nothing is."""
        return f"reading again: {self.progress}   X stops it" if self._reader is not None else ""

    async def on_mount(self) -> None:
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))
        # After fg the terminal is blank, and Textual would only send what changes.
        self.app_resume_signal.subscribe(self, lambda _: self._repaint())
        if self._complaint is not None:
            self.say(self._complaint)
        if self.view is not None:
            self._name_window()
            await self.switch_mode("overview")
        else:
            self._read()

    def _repaint(self) -> None:
        self.refresh(layout=True)
        self.screen.refresh(layout=True)

    def _name_window(self) -> None:
        assert self.view is not None
        self.title = f"nullfs-explorer: {escape_text(self.view.snapshot.capture.source.target)}"

    # -- reading ---------------------------------------------------------------------------------------------

    def _read(self) -> None:
        self.run_worker(self._read_target(), group="reader", exclusive=True)

    async def _read_target(self) -> None:
        """Read, and show what came of it. What was shown before stays until there is something new."""
        self.progress, self.failure = "", ""
        reader = self._reader = Reader(self.session.arguments, self._prefix)
        if self.view is None:
            await self.switch_mode("reading")
        try:
            reading = await reader.read(self._progressed)
        except ReaderFailure as error:
            self._reader = None
            await self._failed(error.reason)
            return
        finally:
            self._reader = None
        number = 0 if self.view is None else self.view.number + 1
        first, self.view = self.view is None, View(reading.snapshot, reading.partial, number)
        self._name_window()
        if first:
            await self.switch_mode("overview")
        else:
            self._catch_up()
        if reading.partial is not None:
            count = len(reading.snapshot.errors)
            self.say(f"Partial: {count} values could not be read. K says which.")

    async def _failed(self, reason: str) -> None:
        self.failure = reason
        if self.view is None:
            await self.switch_mode("problem")
        else:
            self._catch_up()
            self.say(f"Not read again: {reason}")

    def _progressed(self, what: str, done: int, total: int | None) -> None:
        self.progress = f"{what} {done}" + (f" of {total}" if total and total != done else "")
        if self.view is not None:
            self._catch_up()

    def _catch_up(self) -> None:
        if isinstance(self.screen, BrowserScreen):
            self.screen.catch_up()

    async def action_stop_reading(self) -> None:
        if self._reader is not None:
            await self._reader.cancel()

    def action_refresh_target(self) -> None:
        if self.session.arguments:
            self._read()
        else:
            self.say("There is no target to read again: this is a snapshot.")

    def action_read_again(self) -> None:
        self._read()

    def action_open_sample(self) -> None:
        self.session, self._prefix = Session(("sample",)), ()
        self._read()

    def can_use_sudo(self) -> bool:
        """Whether reading as root is a way on that has not been taken."""
        live = self.session.guess or "live" in self.session.arguments or "-k" in self.session.arguments
        return live and os.geteuid() != 0 and not self._prefix and shutil.which("sudo") is not None

    def action_read_with_sudo(self) -> None:
        """Let sudo ask for a password in the terminal; then only the child runs as root."""
        if not self.can_use_sudo():
            return
        with self.suspend():
            print("The reader of the running kernel needs root; the screen does not.")
            allowed = subprocess.run(["sudo", "-v"], check=False).returncode == 0
        if allowed:
            self._prefix = ("sudo", "-n", "--")
            self._read()

    # -- going places ----------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that lead nowhere now are neither shown nor obeyed."""
        if action in ("browse", "kernel", "refresh_target"):
            return self.view is not None
        if action == "stop_reading":
            return self._reader is not None
        return action != "read_with_sudo" or self.can_use_sudo()

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
        self._show_object(_KERNEL)

    # -- help, themes, copying -------------------------------------------------------------------------------

    def action_help(self) -> None:
        bindings = list(self.screen.active_bindings.values())
        keys = {active.binding.key: self.get_key_display(active.binding) for active in bindings}
        self.push_screen(TextScreen("keys that work here", help_lines(bindings, keys)))

    def action_debug_info(self) -> None:
        view = self.view
        lines = [
            f"nullfs-explorer {__version__}, textual {textual.__version__}, Python {platform.python_version()}",
            f"terminal {os.environ.get('TERM', '?')}, {self.size.width}x{self.size.height}, "
            f"colours {self.console.color_system}, theme {self.theme}",
            f"system {platform.system()} {platform.release()} {platform.machine()}, uid {os.geteuid()}",
            f"settings {escape_text(str(config_directory()))}",
            f"reader {escape_text(sys.executable)} -m explorer snapshot {escape_text(self.session.target)}",
        ]
        if view is not None:
            lines += ["", *_facts_of(view)]
        self.push_screen(TextScreen("debug info: for a bug report; c copies it", lines))

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

    def say(self, text: str) -> None:
        """A notice that goes away by itself; kernel text in it is escaped already."""
        self.notify(text, markup=False)

    def copy_text(self, text: str) -> None:
        """To the clipboard of the terminal (OSC 52), and to a file for terminals that refuse it."""
        self.copy_to_clipboard(text)
        problem = write_clipboard(text)
        where = problem or str(config_directory() / "copied.txt")
        shown = text if len(text) <= 200 else f"{text[:200]}…"
        self.notify(f"{shown}\n\nalso in {escape_text(where)}", title="copied", markup=False)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: what applies now, made from the bindings."""
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.id and not binding.system and not binding.id.startswith(("table.", "text.", "door.")):
                key = self.get_key_display(binding)
                title, action = binding.description, binding.action
                yield SystemCommand(
                    f"{title}  ({key})",
                    binding.tooltip,
                    lambda action=action, node=active.node: self.run_worker(self.run_action(action, node)),
                )
        if isinstance(screen, TasksScreen) and screen.tasks is not None:
            for column in screen.tasks.columns:
                yield SystemCommand(
                    f"Sort by {column.title}",
                    "Order the tasks by this column",
                    lambda name=column.name: screen.sort_by(name),
                )
        yield SystemCommand("Theme", "Choose from all themes", self.action_change_theme)


def _facts_of(view: View) -> list[str]:
    detail = describe(_KERNEL, view.snapshot)
    lines = [f"{fact.name:<15} {fact.value}" for fact in detail.facts]
    for error in view.audit.errors:
        lines.append(escape_text(f"{'audit failed':<15} {error.where}: {error.why}"))
    return lines
