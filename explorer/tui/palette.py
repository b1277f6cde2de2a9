"""The command palette: what applies now, made from the bindings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from textual import events
from textual.app import App, SystemCommand
from textual.binding import ActiveBinding, Binding
from textual.command import CommandList, CommandPalette
from textual.screen import Screen
from textual.theme import ThemeProvider

from explorer.model import escape_text
from explorer.tui.screens import TableScreen
from explorer.tui.session import INTERVALS

from .settings import SavedView
from .shell import shell_of

__all__ = ("open_palette", "open_themes", "palette_commands", "view_commands")

#: Keys that move about, and those for which the palette has one command a choice: no commands.
_NO_COMMANDS = (
    *("table.", "text.", "door.", "filter.", "prompt.", "overview.down", "overview.up"),
    *("rows.sort-left", "rows.sort-right", "app.interval"),
    "app.copy",  # what ctrl+c does depends on what is selected, and the palette selects nothing
)


class _Palette(CommandPalette):
    """Textual's, which must have come to lie on a screen before that of another mode is shown, and whose list cannot
    move by a page before it was laid out, or on a terminal that has no line for it.
    """

    _lies_on_a_screen = False

    def on_mount(self, event: events.Mount) -> None:
        self._lies_on_a_screen = self in self.app.screen_stack[1:]
        if not self._lies_on_a_screen:
            event.prevent_default()

    def on_screen_resume(self) -> None:
        """Of the mode that it was opened in: what it was opened for is over."""
        if not self._lies_on_a_screen and self.app.screen is self:
            self.dismiss()

    def _action_command_list(self, action: str) -> None:
        if "page" not in action or self.query_one(CommandList).scrollable_content_region:
            super()._action_command_list(action)


def open_palette(app: App[Any]) -> None:
    """The palette of what applies now."""
    if not isinstance(app.screen, CommandPalette):
        app.push_screen(_Palette(id="--command-palette"))


def open_themes(app: App[Any]) -> None:
    """The palette of all themes."""
    app.push_screen(_Palette([ThemeProvider], placeholder="Search for themes…"))


def palette_commands(
    app: App[Any], screen: Screen[Any], shows: bool, running: bool
) -> Iterator[SystemCommand]:
    """What applies now. :param shows: there is a view; :param running: of a kernel that runs"""
    yield from _key_commands(app, screen)
    yield from _sort_commands(screen)
    if shows and running:
        yield from _interval_commands(app)
    # Where there is no comparison, and on its own screen, its key asks for a second target.
    if shows and shell_of(screen).other is not None and app.current_mode != "compare":
        yield SystemCommand(
            "Ask for another target to compare with",
            "In place of the second one",
            lambda: app.run_worker(app.run_action("compare_with_another")),
        )
    yield SystemCommand("Choose a theme from all", "It is remembered", app.action_change_theme)


def _key_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Every action that a key does here, once, however many keys do it; to where one is, none leads."""
    here = f"go.{app.current_mode}"
    actives: dict[str, list[ActiveBinding]] = {}
    for active in screen.active_bindings.values():
        id = active.binding.id
        if (
            id
            and not active.binding.system
            and not id.startswith(_NO_COMMANDS)
            and (id != here or id == "go.compare")
        ):
            actives.setdefault(id, []).append(active)
    for same in actives.values():
        binding, node = same[0].binding, same[0].node
        keys = " or ".join(dict.fromkeys(app.get_key_display(active.binding) for active in same))
        yield SystemCommand(
            f"{_title(binding)}  ({keys})",
            "On every screen" if node is app else "On this screen",
            lambda action=binding.action, node=node: app.run_worker(app.run_action(action, node)),
        )


def _title(binding: Binding) -> str:
    """What an action does: its sentence, behind the word in the footer where it has not that in it."""
    word, sentence = binding.description, binding.tooltip
    return sentence if word.casefold() in sentence.casefold() else f"{word}: {sentence}"


def _sort_commands(screen: Screen[Any]) -> Iterator[SystemCommand]:
    """On a table: each column to order by."""
    if isinstance(screen, TableScreen) and screen.source() is not None:
        for column in screen.source().columns:
            yield SystemCommand(
                f"Sort by {column.title or column.name}",
                "Order the rows by this column",
                lambda name=column.name: screen.sort_by(name),
            )


def _interval_commands(app: App[Any]) -> Iterator[SystemCommand]:
    """For a kernel that runs: each interval."""
    for interval in INTERVALS:
        title = "Read again only when asked" if interval is None else f"Read again every {interval:g} s"
        action = f"set_interval_s({interval!r})"
        yield SystemCommand(
            title, "A kernel that runs changes", lambda action=action: app.run_worker(app.run_action(action))
        )


def view_commands(
    views: Sequence[SavedView], show: Callable[[SavedView], object], forget: Callable[[str], object]
) -> Iterator[SystemCommand]:
    """The views that are saved. :param show: goes to one, :param forget: is told its name"""
    for view in views:
        name = escape_text(view.name)
        about = escape_text(f"{view.table}: {view.filter or 'all rows'}")
        yield SystemCommand(f"View {name}", about, partial(show, view))
        yield SystemCommand(f"Forget the view {name}", "It is saved no longer", partial(forget, view.name))
