"""Something in this program failed: what, where it is written down, and the ways on. The app is still there."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType

from explorer.tui.faults import Fault
from explorer.tui.keys import hidden, shown

from .notice import NoticeScreen

__all__ = ("FaultScreen",)


class FaultScreen(NoticeScreen):
    """The last fault. Whatever way is taken, the screen in which it happened is made anew."""

    BOX = "faultbox"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("escape,enter", "back", "fault.back", "Back", "Go back to the screen in which it happened"),
        shown("o", "leave('overview')", "fault.overview", "Overview", "Go to the overview"),
        shown("c,y", "copy", "fault.copy", "Copy", "Copy what a bug report needs"),
        hidden("down,j", "scroll(1)", "fault.down", "A line down"),
        hidden("up,k", "scroll(-1)", "fault.up", "A line up"),
    ]
    AUTO_FOCUS = "#faultbox"

    @property
    def fault(self) -> Fault:
        return self.shell.fault_log.shown or self.shell.fault_log.faults[-1]

    def on_screen_resume(self) -> None:
        fault = self.fault
        reason = f"A fault of nullfs-explorer, on the screen {fault.where!r}:\n{fault.what}"
        ways = [
            "Nothing of the kernel was touched, and what was read is still there.",
            "esc  back to where it happened, made anew      o  overview      q  quit",
            "c  copies the report below, !  all that a bug report needs; it is also in",
            f"   {fault.saved}",
        ]
        self.say("reason", reason)
        self.say("ways", "\n".join(ways))
        self.say("fault", "\n".join(fault.trace))

    async def action_back(self) -> None:
        await self.action_leave(self.fault.where)

    async def action_leave(self, mode: str) -> None:
        if self.shell.view is None:  # a saved trace has one screen
            mode = "lookups" if self.shell.tracing.is_file else "problem"
        await self.shell.leave_fault(mode)

    def action_copy(self) -> None:
        fault = self.fault
        self.shell.copy_text("\n".join((f"{fault.when}  {fault.where}", *fault.trace)))

    def action_scroll(self, step: int) -> None:
        self.query_one("#faultbox").scroll_relative(y=step, animate=False)
