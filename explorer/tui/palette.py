"""The command palette: what applies now, made from the bindings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from textual.app import App, SystemCommand
from textual.screen import Screen

from explorer.model import escape_text
from explorer.tui.screens import TableScreen
from explorer.tui.session import INTERVALS

from .settings import SavedView

__all__ = ("palette_commands", "view_commands")

#: Keys that move about: no commands.
_MOVES = ("table.", "text.", "door.", "filter.", "prompt.")


def palette_commands(
    app: App[Any], screen: Screen[Any], shows: bool, running: bool
) -> Iterator[SystemCommand]:
    """What applies now. :param shows: there is a view; :param running: of a kernel that runs"""
    yield from _key_commands(app, screen)
    yield from _sort_commands(screen)
    if shows:
        if running:
            yield from _interval_commands(app)
        ask = "compare_with_another"
        yield SystemCommand(
            "Compare with another target", "A second kernel", lambda: app.run_worker(app.run_action(ask))
        )
    yield SystemCommand("Theme", "Choose from all themes", app.action_change_theme)


def _key_commands(app: App[Any], screen: Screen[Any]) -> Iterator[SystemCommand]:
    """Every key that works here, once."""
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.id and not binding.system and not binding.id.startswith(_MOVES):
            key = app.get_key_display(binding)
            title, action = binding.description, binding.action
            yield SystemCommand(
                f"{title}  ({key})",
                binding.tooltip,
                lambda action=action, node=active.node: app.run_worker(app.run_action(action, node)),
            )


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
