"""Asks for a second target, reads it, and says how far it is; a failure is said here, and another name can be tried."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from explorer.model import escape_text
from explorer.tui.faults import Guarded
from explorer.tui.session import ReaderFailure, Target, View
from explorer.tui.shell import Shell, shell_of
from explorer.tui.views.tasks import complete_target, longest_common
from explorer.tui.widgets import NO_CONTROL

__all__ = ("TargetPrompt",)

_TICK_S = 0.5
_SHOWN_MATCHES = 6
_HINT = "live, sample, qemu:SOCKET, physmem:FILE, a vmcore or a saved snapshot"


class TargetPrompt(Guarded, ModalScreen[None]):
    """Enter reads the target that is named; tab completes; escape stops the reader, or closes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "tab", "complete", "Complete", id="prompt.complete", priority=True, tooltip="Complete the name"
        ),
        Binding(
            "escape", "leave", "Stop or close", id="prompt.leave", priority=True, tooltip="Stop, then close"
        ),
    ]
    AUTO_FOCUS = "#target"

    def __init__(self, name: str) -> None:
        """:param name: to begin with; if it is not empty, it is read at once"""
        super().__init__()
        self._first = name
        self._target: Target | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="promptbox") as box:
            box.border_title = Content("compare with")
            yield Input(self._first, id="target", restrict=NO_CONTROL, placeholder=_HINT, compact=True)
            yield Static(id="matches", markup=False)
            yield Static(id="promptstate", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    @property
    def shell(self) -> Shell:
        return shell_of(self)

    @property
    def is_reading(self) -> bool:
        return self._target is not None and self._target.is_reading

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie on what they have nothing to do with
        self.set_interval(_TICK_S, self.tick)
        self._offer(self._first)
        if self._first:
            self._start(self._first)

    def _say(self, text: str, bad: bool = False) -> None:
        state = self.query_one("#promptstate", Static)
        state.set_class(bad, "wrong")
        state.update(Content(text))

    def tick(self) -> None:
        """Say how far it is."""
        target = self._target
        if target is not None and target.is_reading and self.is_mounted:
            self._say(f"reading: {target.progress}   {target.seconds:.0f} s   esc stops it")

    # -- the name --------------------------------------------------------------------------------------------

    @on(Input.Changed, "#target")
    def _typed(self, event: Input.Changed) -> None:
        self._offer(event.value)

    def _offer(self, text: str) -> None:
        names = complete_target(text)
        shown = [escape_text(name) for name in names[:_SHOWN_MATCHES]]
        if len(names) > _SHOWN_MATCHES:
            shown[-1] = f"and {len(names) - _SHOWN_MATCHES + 1} more"
        self.query_one("#matches", Static).update(Content("\n".join(shown)))

    def action_complete(self) -> None:
        box = self.query_one("#target", Input)
        common = longest_common(complete_target(box.value))
        if len(common) > len(box.value):
            box.value = common
            box.cursor_position = len(common)

    @on(Input.Submitted, "#target")
    def _submitted(self, event: Input.Submitted) -> None:
        name = event.value.strip()
        if name and not self.is_reading:
            self._start(name)

    # -- reading ---------------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        if name.startswith("-"):
            self._say("that is an option, not a target; for a file of that name say ./", bad=True)
            return
        if name.startswith("~/"):
            name = str(Path(name).expanduser())
        source = self.shell.source
        prefix = source.target.prefix if name == "live" else ()
        self._target = Target((name, *source.session.options), prefix, self.tick)
        self._say("starting the reader")
        self.run_worker(self._read(self._target), group="reader")

    async def _read(self, target: Target) -> None:
        began = time.monotonic()
        try:
            reading = await target.read()
        except ReaderFailure as error:
            self._say(error.reason, bad=True)
            return
        if self.is_attached:
            shell = self.shell
            plugins = shell.source.session.plugins
            view = View(reading.snapshot, reading.partial, 0, began, plugins=plugins)
            await shell.source.keep_partial(reading)  # before: this worker ends with its screen
            self.dismiss()
            shell.compare_later(view)

    async def action_leave(self) -> None:
        if self._target is not None and self._target.is_reading:
            await self._target.cancel()
        else:
            self.dismiss()
