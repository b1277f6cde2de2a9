"""The themes, and what the user has set. Colour repeats what the words say; every tone is told apart without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from textual.app import App
from textual.driver import Driver
from textual.theme import Theme

from explorer.model import escape_text

from .keymap import apply_keymap, keymap_complaint
from .settings import SavedView, Settings, load_settings, save_settings
from .terminal import TerminalDriver

__all__ = ("THEMES", "THEME_CYCLE", "Look", "theme_for")


def _quiet(tone: str) -> dict[str, str]:
    """Hints and placeholders in a tone that can be read: Textual's own are the foreground at 38 and 60 percent."""
    names = ("text-muted", "text-disabled", "foreground-muted", "foreground-disabled")
    return dict.fromkeys(names, tone)


THEMES = (
    Theme(
        name="nullfs-dark",
        primary="#7aa2f7",
        secondary="#8a9bb8",
        accent="#c9a26d",
        foreground="#d5d9e2",
        background="#14161b",
        surface="#1a1d24",
        panel="#232733",
        success="#8fbf7f",
        warning="#e0af68",
        error="#f0737f",
        dark=True,
        variables=_quiet("#8a9bb8"),
    ),
    Theme(
        name="nullfs-light",
        primary="#2456b3",
        secondary="#55637a",
        accent="#8a5a10",
        foreground="#1d2129",
        background="#fbfbf9",
        surface="#f2f2ee",
        panel="#e4e5e0",
        success="#216a21",
        warning="#8a5a00",
        error="#b3202e",
        dark=False,
        variables=_quiet("#55637a"),
    ),
    Theme(
        name="nullfs-high-contrast",
        primary="#ffff00",
        secondary="#ffffff",
        accent="#00ffff",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#000000",
        success="#00ff00",
        warning="#ffff00",
        error="#ff6060",
        dark=True,
        text_alpha=1.0,
        variables=_quiet("#cccccc"),
    ),
)

#: What the theme key goes through; the ansi ones use the terminal's own 16 colours.
THEME_CYCLE = ("nullfs-dark", "nullfs-light", "nullfs-high-contrast", "ansi-dark", "ansi-light")

#: The default, which of 16 colours keeps only a few.
_DEFAULT, _OF_16_COLOURS = "nullfs-dark", "ansi-dark"


def theme_for(theme: str, colours: str | None) -> str:
    """The theme to begin with: on a terminal with 16 colours the default gives way to one that is made of these.

    :param colours: as Rich calls what the terminal can: ``standard`` is 16 colours
    """
    return _OF_16_COLOURS if theme == _DEFAULT and colours == "standard" else theme


class Look:
    """The theme, the keys and the mouse of an app, as the user has set them; theme and mouse are remembered."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._settings, self._complaint = load_settings()
        for theme in THEMES:
            app.register_theme(theme)
        if self._settings.theme in app.available_themes:
            app.theme = self._settings.theme
        app.set_keymap(apply_keymap(self._settings.keymap))

    def watch(self) -> Iterator[str]:
        """From now on a theme that is chosen is remembered. What is wrong with the settings, escaped."""
        self._app.theme_changed_signal.subscribe(self._app, lambda theme: self._remember(theme.name))
        for complaint in (self._complaint, keymap_complaint(self._settings.keymap)):
            if complaint is not None:
                yield escape_text(complaint)

    def next_theme(self) -> str:
        names = [name for name in THEME_CYCLE if name in self._app.available_themes]
        position = names.index(self._app.theme) if self._app.theme in names else -1
        self._app.theme = names[(position + 1) % len(names)]
        return self._app.theme

    @property
    def views(self) -> list[SavedView]:
        """The views that are saved, by name."""
        return sorted(self._settings.views, key=lambda view: view.name.casefold())

    def keep_view(self, view: SavedView) -> str | None:
        """Save a view in place of the one of its name. What went wrong, or ``None``."""
        return self._keep_views([*(each for each in self._settings.views if each.name != view.name), view])

    def forget_view(self, name: str) -> str | None:
        """The view of that name is saved no longer. What went wrong, or ``None``."""
        return self._keep_views([each for each in self._settings.views if each.name != name])

    def _keep_views(self, views: list[SavedView]) -> str | None:
        self._settings = replace(self._settings, views=views)
        return save_settings(self._settings)

    def _remember(self, name: str) -> None:
        if name != self._settings.theme:
            self._save(replace(self._settings, theme=name), "theme")

    @property
    def mouse(self) -> bool:
        """Whether the app has the mouse."""
        return self._settings.mouse

    def turn_mouse(self, driver: Driver | None) -> None:
        """On, or off, and say which. :param driver: that of the terminal"""
        on = not self.mouse
        self._save(replace(self._settings, mouse=on), "mouse")
        if isinstance(driver, TerminalDriver):
            driver.set_mouse(on)
        said = "mouse on" if on else "mouse off: the terminal's own selection works"
        self._app.notify(said, markup=False)

    def _save(self, settings: Settings, what: str) -> None:
        self._settings = settings
        problem = save_settings(settings)
        if problem is not None:
            self._app.notify(f"The {what} is not remembered: {problem}", markup=False)
