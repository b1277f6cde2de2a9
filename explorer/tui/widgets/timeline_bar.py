"""The bar below every view of a recording, and the lines above its events. A click goes to that moment."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from explorer.tui.views import Cell, Playback, TimelineText, world_lines

__all__ = ("TimelineBar", "WorldLines")

_TONES = ("muted", "warn", "group", "cursor")


class _Lines(Widget):
    """Lines of cells, drawn as they are: nothing in them is markup."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"timeline--{tone}" for tone in _TONES}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, classes="timeline")
        self._cells: list[list[Cell]] = []

    def _draw(self, lines: list[list[Cell]]) -> None:
        self._cells = lines
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._cells):
            return Strip.blank(width, self.rich_style)
        segments = [
            Segment(
                cell.text,
                self.get_component_rich_style(f"timeline--{cell.tone}") if cell.tone else self.rich_style,
            )
            for cell in self._cells[y]
        ]
        return Strip(segments).adjust_cell_length(width, self.rich_style).crop(0, width)


class TimelineBar(_Lines):
    """Where in the recording the views above are."""

    class Sought(Message):
        """A moment was clicked."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text: TimelineText | None = None

    def show_moment(self, playback: Playback | None) -> None:
        """Show where a playback is; without one there is no bar."""
        self.display = playback is not None
        if playback is None:
            return
        text, shown = self._text, (playback, playback.timeline, self.size.width)
        if text is None or (text.playback, text.timeline, text.width) != shown:
            text = self._text = TimelineText(playback, self.size.width)
        self._draw(text.lines(self.size.height))

    def on_resize(self, event: events.Resize) -> None:
        if self._text is not None:
            self.show_moment(self._text.playback)

    def on_click(self, event: events.Click) -> None:
        index = None if self._text is None else self._text.frame_at(event.x)
        if index is not None:
            self.post_message(self.Sought(index))


class WorldLines(_Lines):
    """How many live in each world, over time."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._playback: Playback | None = None

    def show_worlds(self, playback: Playback) -> None:
        self._playback = playback
        lines = world_lines(playback, self.size.width)
        self.styles.height = len(lines)
        self._draw(lines)

    def on_resize(self, event: events.Resize) -> None:
        if self._playback is not None:
            self.show_worlds(self._playback)
