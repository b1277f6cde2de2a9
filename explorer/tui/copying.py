"""How text leaves the app: to the clipboard, and to a file."""

from __future__ import annotations

import time
from typing import Any

from textual.app import App
from textual.widgets import Input

from explorer.model import escape_text

from .settings import config_directory, write_clipboard

__all__ = ("Copier", "copy_text")

#: What the screens' own key copies, by its id: a row, a text, a fault.
_COPIES = ("copy.row", "text.copy", "fault.copy")
#: Who presses ctrl+c again so soon does not want another copy.
_AGAIN_S = 2.0


def copy_text(app: App[Any], text: str) -> None:
    """To the clipboard of the terminal (OSC 52), and to a file for terminals that refuse it."""
    app.copy_to_clipboard(text)
    where = write_clipboard(text) or str(config_directory() / "copied.txt")
    shown = text if len(text) <= 200 else f"{text[:200]}…"
    app.notify(f"{shown}\n\nalso in {escape_text(where)}", title="copied", markup=False)


class Copier:
    """For ctrl+c."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._copied: float | None = None

    async def copy_selected(self) -> bool:
        """Copy what is selected: text with the mouse or in a field, else what is under the cursor. False: nothing is,
        or that was done a moment ago."""
        now = time.monotonic()
        if self._copied is not None and now - self._copied < _AGAIN_S:
            self._copied = None
            return False
        copied = await self._copy()
        self._copied = now if copied else None
        return copied

    async def _copy(self) -> bool:
        app = self._app
        field = app.focused if isinstance(app.focused, Input) else None
        text = field.selected_text if field is not None else app.screen.get_selected_text()
        if text:
            copy_text(app, text)
            return True
        if field is not None:
            return False
        for active in app.screen.active_bindings.values():
            if active.binding.id in _COPIES:
                return await app.run_action(active.binding.action, active.node)
        return False
