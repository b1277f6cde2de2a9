"""The line of the filter above a table: what is typed, how many rows there are; below it what is wrong or offered."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from explorer.model import display_width
from explorer.output import wrap_lines

from .filter_box import FilterBox

__all__ = ("FilterBar", "SearchBar")

#: Terminal columns by which the counts may be wider than they have to be.
_SLACK = 12
#: And for how many it has room to grow once it has grown.
_GROWTH = 2
_MOST_LINES = 3


class SearchBar(Horizontal):
    """The line in which a text is searched for; there while it is, and while it finds."""

    DEFAULT_CSS = """
    SearchBar { height: 1; dock: bottom; display: none; }
    SearchBar #searchlabel, SearchBar #found { width: auto; color: $secondary; }
    SearchBar #search { width: 1fr; }
    """

    def __init__(self, goal: str = "#detail") -> None:
        """:param goal: what is searched, and has the keyboard then"""
        super().__init__(id="searchbar")
        self._goal = goal

    def compose(self) -> ComposeResult:
        yield Static(" search ▏", id="searchlabel", markup=False)
        yield FilterBox(id="search", placeholder="n, N: the next, the one before", goal=self._goal)
        yield Static(id="found", markup=False)

    def open(self) -> None:
        """Type into it, from the next key on."""
        self.display = True
        self.screen.set_focus(self.query_one("#search", FilterBox))

    def close(self) -> None:
        """Search for nothing any longer."""
        self.query_one("#search", FilterBox).value = ""
        self.display = False

    def say(self, lines: int, elsewhere: str = "") -> None:
        """How many lines have what is searched for. :param elsewhere: what is to be said of others"""
        self.query_one("#found", Static).update(
            Content(f" {lines} line{'' if lines == 1 else 's'}{elsewhere} ")
        )

    @on(Input.Blurred, "#search")
    def _left(self, event: Input.Blurred) -> None:
        self.display = bool(event.value)


class FilterBar(Vertical):
    """Unless it is ``always`` there, it comes with the filter and with marks, and goes with them."""

    DEFAULT_CSS = """
    FilterBar { height: auto; }
    FilterBar #filterwrong, FilterBar #filteroffer { display: none; height: auto; max-height: 9; padding: 0 1; }
    FilterBar #filterwrong { color: $error; text-style: bold; }
    FilterBar #filteroffer { color: $secondary; }
    """

    def __init__(self, *, placeholder: str, always: bool) -> None:
        super().__init__(id="filters")
        self._placeholder, self._always = placeholder, always
        self._said = 0
        """Terminal columns of what is beside the filter."""
        self.display = always

    def compose(self) -> ComposeResult:
        with Horizontal(id="filterbar"):
            yield Static(" filter ▏", id="filterlabel", markup=False)
            yield FilterBox(id="filter", placeholder=self._placeholder)
            yield Static(id="counts", markup=False)
        yield Static(id="filterwrong", markup=False)
        yield Static(id="filteroffer", markup=False)

    @property
    def box(self) -> FilterBox:
        return self.query_one("#filter", FilterBox)

    def open(self) -> None:
        """Type into it, from the next key on."""
        self.display = True
        self.screen.set_focus(self.box)

    def put(self, query: str) -> None:
        """Show a filter that was not typed."""
        with self.box.prevent(Input.Changed):
            self.box.value = query
        self._offer("")

    def show_or_hide(self, wanted: bool) -> None:
        """Be there if there is something to say, or somebody types."""
        self.display = self._always or wanted or bool(self.box.value) or self.box.has_focus

    def say(self, text: str, wrong: bool = False) -> None:
        """Beside the filter: how many rows there are, or that the query is wrong."""
        counts = self.query_one("#counts", Static)
        if not wrong and len(text) < self._said <= len(text) + _SLACK:
            text = text.rjust(self._said)  # as wide as before: what is beside it need not be laid out anew
        elif not wrong and 0 < self._said < len(text):
            text = text.rjust(len(text) + _GROWTH)
        width = display_width(text)
        counts.update(Content(f" {text} "), layout=width != self._said)
        counts.set_class(wrong, "wrong")
        self._said = width

    def complain(self, why: str) -> None:
        """In lines of its own, as it is longer than the room beside the filter. :param why: empty: nothing is wrong"""
        wrong = self.query_one("#filterwrong", Static)
        if why:
            wrong.update(Content(f"the filter is not valid: {why}"))
        wrong.display = bool(why)

    def _offer(self, text: str) -> None:
        offer = self.query_one("#filteroffer", Static)
        if text:
            offer.update(Content(text))
            self.query_one("#filterwrong").display = False  # that a value is missing, the choices say
        offer.display = bool(text)

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        if event.value != self.box.made:
            self._offer("")

    @on(Input.Blurred, "#filter")
    def _left(self) -> None:
        self._offer("")
        self.show_or_hide(False)

    @on(FilterBox.Offered, "#filter")
    def _offered(self, event: FilterBox.Offered) -> None:
        words = [f"[{word}]" if word == event.chosen else word for word in event.words]
        if len(words) == 1:
            self._offer("")
            return
        if not words:
            self._offer("nothing is known that begins so")
            return
        at = event.words.index(event.chosen) if event.chosen in event.words else 0
        lines = wrap_lines(["  ".join(words[max(0, at - 2) :])], max(20, self.size.width - 2))
        more = len(lines) > _MOST_LINES
        self._offer("\n".join([*lines[: _MOST_LINES - 1], lines[_MOST_LINES - 1] + " …"] if more else lines))
