"""Keys in the order in which they were typed, each after what the one before has done.

Textual hands a key to the focused widget's queue, lets it bubble up through the queues of its ancestors, and only then
looks for a binding: a key typed right after one that moves the focus or switches the screen is in the old widget's
queue by then. Here a key waits until the last one's messages are dealt with, and its binding is run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.worker import Worker, WorkerState

from explorer.tui.session import note_input

__all__ = ("GO", "TypeAhead")

#: A queue that has not moved for so long does not hold up the keyboard.
_PATIENCE_S = 2.0
#: What a key sets going: the focused widget tells the screen, the screen changes the widget, which tells the screen.
_ROUNDS = 2
#: Group of workers that lead to another screen.
GO = "go"


class TypeAhead:
    """For people who type faster than an app draws."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app

    async def take(self, event: events.Event) -> bool:
        """Do what a key is bound to. False: it is bound to nothing, or no key, and goes Textual's own way."""
        if not isinstance(event, events.Key) or event.is_forwarded:
            return False
        note_input()
        await self.settle()
        return await self._run_binding(event)

    async def _run_binding(self, event: events.Key) -> bool:
        """Run what the key is bound to, unless the focused widget takes the key as text."""
        app = self._app
        if app.screen.maximized is not None:
            return False  # Textual's own escape
        if await app._check_bindings(event.key, priority=True):
            return True
        focused = app.focused
        if focused is not None and focused.check_consume_key(event.key, event.character):
            return False
        return await app._check_bindings(event.key)

    async def settle(self) -> None:
        """Wait until the widgets that have the keyboard have dealt with their messages."""
        app = self._app
        for worker in list(app.workers):
            if worker.group == GO and worker.state is WorkerState.RUNNING:
                await _finished(worker)
        for _ in range(_ROUNDS):
            focused = app.focused
            pumps = [app.screen] if focused is None else [*focused.ancestors_with_self]
            for pump in pumps:
                if pump is not app and not await _drained(pump):
                    return


async def _finished(worker: Worker[Any]) -> None:
    """Wait for a worker, without ending it when patience does."""
    waiting = asyncio.ensure_future(worker.wait())
    done, _ = await asyncio.wait([waiting], timeout=_PATIENCE_S)
    if done:
        waiting.exception()  # the app has shown it already: this only marks it as seen


async def _drained(pump: MessagePump) -> bool:
    """Wait until all that is in a pump's queue now has been handled. False: it took too long."""
    done = asyncio.Event()
    mark: Callable[[], None] = done.set
    if not pump.is_running or not pump.call_later(mark):
        return True
    try:
        await asyncio.wait_for(done.wait(), _PATIENCE_S)
    except TimeoutError:
        return False
    return True
