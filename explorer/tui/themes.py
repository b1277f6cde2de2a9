"""The app's themes. Colour repeats what the words say; every tone is told apart without it."""

from __future__ import annotations

from textual.theme import Theme

__all__ = ("THEMES", "THEME_CYCLE", "theme_for")


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
