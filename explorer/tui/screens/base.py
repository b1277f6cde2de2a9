"""What all screens that show a snapshot have in common: the header, the footer, and being brought up to date."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from explorer.model import display_width
from explorer.tui.faults import Guarded
from explorer.tui.session import View
from explorer.tui.shell import Shell, shell_of
from explorer.tui.views import first_line
from explorer.tui.widgets import KeyLine, TimelineBar

from .places import HOME, Place

__all__ = ("BrowserScreen",)

#: What takes keys as text: who comes back wants to go on, not to write.
_FIELDS = ("filter", "search")


class BrowserScreen(Guarded, Screen[None]):
    """Shows the app's view. It does so when it is on the screen, and not before."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: View | None = None
        self._parts: tuple[DOMNode, ...] = ()
        self._header_texts = ("", "", "")

    @property
    def shell(self) -> Shell:
        return shell_of(self)

    def compose(self) -> ComposeResult:
        with Horizontal(id="headerbar"):
            yield Static(id="crumbs", markup=False)
            yield Static(id="header", markup=False)
            yield Static(id="status", markup=False)
        with Vertical(id="body"):
            yield from self.compose_body()
        yield TimelineBar(id="timeline")
        yield KeyLine()

    @property
    def is_there(self) -> bool:
        """Whether its widgets can be asked for: not while it is made, nor taken down, from the innermost on."""
        if not self._parts and self.is_mounted:
            self._parts = tuple(part for part in self.walk_children() if part.id)
        return bool(self._parts) and all(part.is_attached for part in self._parts)

    def compose_body(self) -> ComposeResult:
        """Everything between header and footer."""
        yield from ()

    def show_view(self, view: View) -> None:
        """Show a view for the first time, or another one than before."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self.catch_up()

    def on_screen_resume(self) -> None:
        self.catch_up()

    def catch_up(self) -> None:
        """Show the app's view, if that is not what is shown."""
        view = self.shell.view
        if view is None or not self.is_there:
            return
        self.show_status()
        self.show_moment()
        if view is not self._shown:
            self._shown = view
            self.show_view(view)

    def on_resize(self, event: events.Resize) -> None:
        self.show_status()

    def header(self, view: View) -> str:
        """What the header says while nothing is being read."""
        return view.header

    def header_text(self) -> str | None:
        """As :meth:`header`, of what is shown; ``None``: nothing is."""
        return None if self.shell.view is None else self.header(self.shell.view)

    def here(self) -> list[str]:
        """What this screen is called, then what is looked at in it. Escaped."""
        return [self.app.current_mode]

    def crumbs(self) -> list[str]:
        """Where one is and how one got here, the outermost first: all begins at the overview. Escaped."""
        here = self.here()
        way = [] if here == [HOME] else [*self.shell.way, *here]
        return [HOME, *(crumb for at, crumb in enumerate(way) if at == 0 or way[at - 1] != crumb)]

    def place(self) -> Place:
        """Where one is now, to come back to."""
        focused = self.focused
        focus = "" if focused is None or focused.id in _FIELDS else focused.id or ""
        return Place(self.app.current_mode, tuple(self.here()), focus)

    def come_back(self, place: Place) -> bool:
        """Be as one was there. False: what was selected is gone."""
        if place.focus and self.query(f"#{place.focus}"):
            self.query_one(f"#{place.focus}").focus()
        return True

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _went(self) -> None:
        """Into a part of the screen, or out of it."""
        self.show_header()

    def show_status(self) -> None:
        """What is going on, and how old what is shown is."""
        self.show_header()

    def show_header(self) -> None:
        """The first line: where one is, what is looked at or going on, how old that is."""
        text = self.header_text()
        if text is None or not self.is_there:
            return
        activity, status = self.shell.source.activity, self.shell.status
        state = f" {status} " if status else ""
        crumbs, header = first_line(
            self.crumbs(), activity or text, self.size.width - 2 - display_width(state)
        )
        texts = (f" {crumbs}", f"   {header}", state)
        if texts != self._header_texts:  # asked twice a second: what says the same is not laid out again
            self._header_texts = texts
            for part, shown in zip(("#crumbs", "#header", "#status"), texts, strict=True):
                self.query_one(part, Static).update(Content(shown))

    def show_moment(self) -> None:
        """The bar of a recording: where in it this is."""
        if self.is_mounted and self.query("#timeline"):
            self.query_one("#timeline", TimelineBar).show_moment(self.shell.player.playback)
