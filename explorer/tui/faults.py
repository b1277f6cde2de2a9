"""Faults of this program: shown on a screen of their own and written down, and the app goes on.

Textual ends the app for any exception, and a widget whose handler raised stops handling anything. Here the app, its
screens and its tables survive a handler that raises; a screen in which something failed is made anew.
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from textual import events
from textual.app import App
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import WorkerFailed

from explorer.model import escape_text

from .pasting import paste
from .settings import write_fault
from .typeahead import TypeAhead

__all__ = ("FAULT_MODE", "HIDDEN_S", "Fault", "FaultLog", "Guarded", "GuardedApp")

#: Seconds for which Textual paints nothing of a screen that it goes to.
HIDDEN_S = 0.05
FAULT_MODE = "fault"
_MOST_FAULTS = 20
#: More than these in a row so fast, and no screen helps: then the app ends with its traceback, as Textual does it.
_STORM = 5
_STORM_S = 2.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One exception that nobody had expected. All text is escaped."""

    when: str
    where: str
    """The mode of the app in which it happened."""
    what: str
    trace: tuple[str, ...]
    saved: str
    """The file that has it, or why there is none."""


def _keep_alive(pump: MessagePump, error: Exception) -> None:
    pump.app._handle_exception(error)


class Guarded(MessagePump):
    """A widget or screen whose handlers may raise: it is reported, and the next message is handled all the same."""

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:  # noqa: BLE001  # reported, and shown
            _keep_alive(self, error)


class FaultLog:
    """The faults so far, the oldest dropped."""

    def __init__(self) -> None:
        self.faults: deque[Fault] = deque(maxlen=_MOST_FAULTS)
        self.shown: Fault | None = None
        """The first since the screen of faults was left."""
        self._times: deque[float] = deque(maxlen=_STORM)

    def strikes_again(self) -> bool:
        """Count an exception. True: there are so many that no screen helps."""
        now = time.monotonic()
        storm = len(self._times) == _STORM and now - self._times[0] < _STORM_S
        self._times.append(now)
        return storm

    def take(self, error: BaseException, where: str) -> Fault:
        """Write a fault down. :param where: the mode of the app"""
        if isinstance(error, WorkerFailed):
            error = error.error
        trace = "".join(traceback.format_exception(error))
        lines = tuple(escape_text(line) for line in trace.splitlines())
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        what = escape_text(f"{type(error).__name__}: {error}")
        saved = write_fault("\n".join((f"{when}  {where}", *lines)))
        fault = Fault(when, where, what, lines, escape_text(saved))
        self.faults.append(fault)
        return fault


class GuardedApp(App[None]):
    """An app that shows its faults on a screen of their own, and goes on; and whose keys wait for one another."""

    hides_for = HIDDEN_S
    """For how many seconds a screen that is gone to is not painted yet."""

    def __init__(self) -> None:
        super().__init__()
        self.fault_log = FaultLog()
        self._type_ahead = TypeAhead(self)

    @property
    def faults(self) -> deque[Fault]:
        return self.fault_log.faults

    def delay_update(self, delay: float = HIDDEN_S) -> None:
        super().delay_update(min(delay, self.hides_for))

    async def on_event(self, event: events.Event) -> None:
        if self._exit and isinstance(event, events.InputEvent | events.Paste):
            return  # the app ends, and its screens may be gone already
        if isinstance(event, events.Paste) and not event.is_forwarded:
            await self._type_ahead.settle()  # what was typed before it may lead to where it belongs
            paste(self, event.text)
        elif not await self._type_ahead.take(event):
            await super().on_event(event)

    async def _dispatch_message(self, message: Message) -> None:
        try:
            await super()._dispatch_message(message)
        except Exception as error:  # noqa: BLE001  # reported, and shown
            _keep_alive(self, error)

    async def _dispatch_action(self, namespace: DOMNode, action_name: str, params: Any) -> bool:
        """A key that comes before a screen is made, or as it is taken down, has nothing to act on."""
        is_there = getattr(namespace, "is_there", True)
        return await super()._dispatch_action(namespace, action_name, params) if is_there else True

    def _handle_exception(self, error: Exception) -> None:
        """What Textual calls for every exception that nobody caught."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if self._exit and isinstance(cause, NoMatches):
            return  # whoever was at work when the end came asks for what has been taken down
        storm = self.fault_log.strikes_again()
        if not self._running or self._exit or storm or self._current_mode == FAULT_MODE:
            super()._handle_exception(error)
            return
        fault = self.take_fault(error)
        # What fails next is often its consequence: the first is the one to see.
        self.fault_log.shown = self.fault_log.shown or fault
        self.call_later(self._show_fault)

    def take_fault(self, error: BaseException) -> Fault:
        """Write a fault down."""
        return self.fault_log.take(error, self._current_mode)

    async def _show_fault(self) -> None:
        is_ending = self._exit or not self._running  # its screens are being closed, one after the other
        if not is_ending and self._current_mode != FAULT_MODE:
            await self.switch_mode(FAULT_MODE)

    async def leave_fault(self, mode: str) -> None:
        """Let the screens go that failed, those of a mode, too, and go there: they are made anew."""
        broken = {fault.where for fault in self.faults} - {mode, self.current_mode}
        for each in (*broken, mode):
            await self.remove_mode(each)
            self.add_mode(each, self.MODES[each])
        self.fault_log.shown = None
        await self.switch_mode(mode)
