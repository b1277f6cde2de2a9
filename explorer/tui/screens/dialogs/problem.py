"""There is nothing to show: why, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.binding import BindingType

from explorer.model import escape_text
from explorer.tui.keys import shown
from explorer.tui.session import run_doctor

from .notice import NoticeScreen

__all__ = ("ProblemScreen", "lacks_first")


class ProblemScreen(NoticeScreen):
    """The reason, the ways on, and for the live kernel what this machine lacks."""

    BOX = "doctorbox"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("r", "app.read_again", "problem.again", "Try again", "Read the same target again"),
        shown("s", "app.open_sample", "problem.sample", "Open the sample", "A real dump of Linux 7.3.4"),
        shown("u", "read_with_sudo", "problem.sudo", "With sudo", "Only the reader runs as root"),
    ]

    def on_screen_resume(self) -> None:
        self.show_reason()
        self.say("doctor", "What this machine offers: looking …")
        self._ask_doctor()

    def show_reason(self) -> None:
        """Why there is nothing to show, and the ways on."""
        source = self.shell.source
        target = escape_text(source.session.target)
        guess = "No target was named, so the running kernel was tried.\n" if source.session.guess else ""
        self.say("reason", f"{guess}Cannot read {target}:\n{source.failure}")
        ways = ["r  try again", "s  open the sample: a real dump of Linux 7.3.4, no root needed"]
        if self.shell.can_use_sudo():
            ways.append("u  read it under sudo: only the reader runs as root, never this screen")
        elif source.target.prefix:
            ways[0] += "; the reader runs under sudo now"
        ways.append("q  quit; nullfs-explorer FILE opens a dump, --help lists all targets")
        self.say("ways", "\n".join(ways))
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "read_with_sudo" or self.shell.can_use_sudo()

    async def action_read_with_sudo(self) -> None:
        with self.app.suspend():
            allowed = self.shell.source.ask_sudo()
        if allowed:
            await self.app.run_action("app.read_again")
        else:
            self.show_reason()

    @work(exclusive=True)
    async def _ask_doctor(self) -> None:
        lines = await run_doctor()
        self.say("doctor", "\n".join(lacks_first(lines)))


def lacks_first(lines: Sequence[str]) -> list[str]:
    """What ``doctor`` says, with what is missing, and what to do about it, before what is there."""
    missing: list[str] = []
    there: list[str] = []
    into = there
    for line in lines[1:]:  # the first is the tool's own version
        if line[:7].strip():
            into = missing if line.split()[0] == "lack" else there
        into.append(line)
    return [*(["Missing here:", *missing, ""] if missing else []), "There is:", *there]
