"""The last line of a screen: its keys, the most important first, and none that has no room is cut."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from explorer.model import display_width

__all__ = ("KeyLine",)

#: The first words of ids, most important first: what finds, helps and leads out, what only this screen can, then the
#: ways to other screens.
_ORDER = ("rows.filter", "overview.filter", "app.help", "app.quit", "", "go.")


class KeyLine(Footer):
    """Shows keys as :class:`Footer` does; not that which leads to where one is."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._width = 0
        """Terminal columns that its keys were chosen for."""

    def compose(self) -> ComposeResult:
        ids = {each.binding.action: each.binding.id or "" for each in self.screen.active_bindings.values()}
        here = f"go.{self.app.current_mode}"
        keys = [
            key for key in super().compose() if isinstance(key, FooterKey) and ids.get(key.action) != here
        ]
        keys.sort(key=lambda key: _rank(ids.get(key.action, "")))
        self._width = self.screen.size.width
        room, kept = self._width + 1, []
        for key in keys:
            room -= display_width(f"{key.key_display} {key.description} ")
            if room < 0:
                break
            # Textual adds it when the key is there, and finds its styles once more for that.
            kept.append(key.add_class("-compact", update=False))
        self.styles.grid_size_columns = max(1, len(kept))
        yield from kept

    async def on_resize(self, event: events.Resize) -> None:
        if event.size.width != self._width:
            await self.recompose()


def _rank(id: str) -> int:
    named = (place for place, prefix in enumerate(_ORDER) if prefix and id.startswith(prefix))
    return next(named, _ORDER.index(""))
