"""There is nothing to show: why, and what can be done about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static

from explorer.model import escape_text
from explorer.tui.keys import shown
from explorer.tui.reader import run_doctor

if TYPE_CHECKING:
    from explorer.tui.app import ExplorerApp

__all__ = ("ProblemScreen",)


class ProblemScreen(Screen[None]):
    """The reason, the ways on, and for the live kernel what this machine lacks."""

    BINDINGS: ClassVar[list[BindingType]] = [
        shown("r", "app.read_again", "problem.again", "Try again", "Read the same target again"),
        shown("s", "app.open_sample", "problem.sample", "Open the sample", "A real dump of Linux 7.3.4"),
        shown("u", "app.read_with_sudo", "problem.sudo", "With sudo", "Only the reader runs as root"),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(id="problem"):
            yield Static(id="reason", markup=False)
            yield Static(id="ways", markup=False)
            with VerticalScroll(id="doctorbox"):
                yield Static(id="doctor", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    @property
    def explorer(self) -> ExplorerApp:
        return cast("ExplorerApp", self.app)

    def on_screen_resume(self) -> None:
        app = self.explorer
        target = escape_text(app.session.target)
        guess = "No target was named, so the running kernel was tried.\n" if app.session.guess else ""
        self.query_one("#reason", Static).update(Content(f"{guess}Cannot read {target}:\n{app.failure}"))
        ways = ["r  try again", "s  open the sample: a real dump of Linux 7.3.4, no root needed"]
        if app.can_use_sudo():
            ways.append(
                "u  read the running kernel under sudo: only the reader runs as root, never this screen"
            )
        ways.append("q  quit; nullfs-explorer FILE opens a vmcore, --help lists every kind of target")
        self.query_one("#ways", Static).update(Content("\n".join(ways)))
        self.query_one("#doctor", Static).update(Content("What this machine offers: looking …"))
        self._ask_doctor()
        self.refresh_bindings()

    @work(exclusive=True)
    async def _ask_doctor(self) -> None:
        lines = await run_doctor()
        self.query_one("#doctor", Static).update(Content("\n".join(lines)))
