"""Textual's driver for a terminal, with its faults mended: whatever is sent, and whatever ends the app.

As Textual has it, a byte that is not UTF-8, an unknown sequence or a terminal that is gone end the app with a
traceback, signals end it without a word to the terminal, and SIGCONT without SIGTSTP takes the app's own modes for
those found.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import termios
import time
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, cast

from textual import events
from textual.app import App
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from .endings import Endings
from .keyboard import Keyboard
from .output import Output

__all__ = ("TerminalDriver", "own_driver")

_PIXELS_OFF: Final = "\x1b[?1016l"
#: What Textual switches on, and never off: mouse in pixels, the pointer's shape, a picture half drawn, colours.
_FORGOTTEN: Final = f"{_PIXELS_OFF}\x1b]22;default\x07\x1b[?2026l\x1b[0m"
#: All that is on, off, and on what is off; first the end of a sequence that is half written. The kitty keyboard
#: protocol is a stack: taken off here, because the app's own way, which takes it off too, was not taken.
_RESTORE: Final = (
    "\x1b\\\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[<u\x1b[?1049l"
    f"\x1b[?25h\x1b[?1004l{_FORGOTTEN}"
)
#: What a shell may have changed meanwhile: screen, cursor, focus, line wrap.
_AGAIN: Final = "\x1b[?1049h\x1b[?25l\x1b[?1004h\x1b[?7l"
#: No terminal that is looked at is larger; one that says so would have the app draw for ever.
_MOST_COLUMNS, _MOST_ROWS = 1000, 500
_READ = 1 << 12
#: Within this, the loop has heard of signals that have come.
_HEARD_S: Final = 0.02
#: How many of the terminal's events may wait for the app. There are more when somebody pastes into a terminal that
#: does not say so, or leans on a key; they wait in the terminal then.
_MOST_WAITING = 200
_POLL_S, _POLL_SOON_S = 0.1, 0.01


class TerminalDriver(LinuxDriver):
    """Reads the keys and draws the screen of a terminal of Linux."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert sys.__stdout__ is not None
        # Not to stderr, where Textual draws: that may be a file, and that stdout is a terminal has been seen to.
        self._output = Output(sys.__stdout__, _FORGOTTEN, self._gone)
        self._file = cast(Any, self._output)
        self._is_on = False
        """Whether the terminal is in the app's modes."""
        self._own_attributes: list[Any] | None = None
        self._sent: Future[Any] | None = None
        self._endings = Endings(self._close_app, self._restore_at_once)
        self._endings.watch()
        self._stopping: asyncio.TimerHandle | None = None
        """SIGTSTP came, and nothing since that takes it back: what comes next."""
        # Textual stops and starts from within the handler, where it may wait for a lock that is held below it.
        self._loop.add_signal_handler(signal.SIGTSTP, self._stop_soon)
        self._loop.add_signal_handler(signal.SIGCONT, self._continued)
        self._continuations = self._heard = 0
        """How often SIGCONT came, and when the last SIGTSTP was heard had come."""
        # The loop hears of it in its turn, which may be behind that of stopping; this comes between two instructions.
        signal.signal(signal.SIGCONT, self._count_continuation)
        signal.siginterrupt(signal.SIGCONT, False)
        # Signals that come faster than they are handled (a terminal that has many a ctrl+c for us, as it is given
        # back) are nothing to complain of on it: of each kind one is enough.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)

    # -- beginning and end -----------------------------------------------------------------------------------

    def start_application_mode(self) -> None:
        before = self._key_thread
        super().start_application_mode()  # type: ignore[no-untyped-call]
        # In the background it has done nothing, and a signal will bring it back here.
        self._is_on = self._key_thread is not before
        if self._is_on:
            self._own_attributes = termios.tcgetattr(self.fileno)

    def stop_application_mode(self) -> None:
        if self._is_on:
            self._output.will_have_last()
            super().stop_application_mode()
            self.write(_FORGOTTEN)
            self._is_on = False

    def _stop_soon(self) -> None:
        """SIGTSTP. What came with it, or comes while the terminal is given back, is heard before the process stops: one
        that stopped after its SIGCONT, or after a signal that ends it, would stand still for ever."""
        self._stop_not()
        self._heard = self._continuations
        self._stopping = self._loop.call_later(_HEARD_S, self._give_back)

    def _stop_not(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None

    def _give_back(self) -> None:
        if self._endings.number is None and self._auto_restart and self._is_on:
            self.suspend_application_mode()
            self._must_signal_resume = True
        self._stopping = self._loop.call_later(_HEARD_S, self._stop)

    def _stop(self) -> None:
        self._stopping = None
        if self._endings.number is None and self._continuations == self._heard:
            os.kill(os.getpid(), signal.SIGSTOP)

    def _count_continuation(self, *_: object) -> None:
        self._continuations += 1

    def _continued(self) -> None:
        """SIGCONT: after a SIGTSTP, or a SIGSTOP, of which nobody is told; or before the process has stopped."""
        self._stop_not()
        if self._endings.number is not None:
            return  # the terminal is given back, or is about to be
        if self._auto_restart and not self._is_on:
            self.resume_application_mode()
        elif self._auto_restart and self._own_attributes is not None:
            termios.tcsetattr(self.fileno, termios.TCSANOW, self._own_attributes)
            self.write(_AGAIN)
            self._enable_bracketed_paste()
            self._enable_mouse_support()
            self.send_message(self.SignalResume())

    def leave(self) -> None:
        """The app has ended: the terminal is as it was found. If it was for a signal, the process ends by it."""
        self._restore_at_once()
        self._endings.end()

    def _close_app(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._app.exit)

    def _gone(self) -> None:
        """There is no terminal any more: as if the signal had come that says so."""
        self._endings.ask(signal.SIGHUP)

    def _restore_at_once(self) -> None:
        """What is left to do where the app's own way out was not taken to its end, or leads nowhere."""
        if not self._is_on and not self._output.owes():
            return
        self._is_on = False
        with suppress(OSError, termios.error):  # it is gone
            if self.attrs_before is not None:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            self._output.write_instead(_RESTORE)

    # -- mouse -----------------------------------------------------------------------------------------------

    def set_mouse(self, on: bool) -> None:
        """Have the mouse, or leave it to the terminal."""
        if not on:
            self._disable_mouse_support()
            self.write(_PIXELS_OFF)
            self._down_buttons.clear()
        self._mouse = on
        if on:
            self._enable_mouse_support()
            if self._mouse_pixels:
                self._enable_mouse_pixels()

    # -- output ----------------------------------------------------------------------------------------------

    def write(self, data: str) -> None:
        """Where nobody writes (the app is stopped, or has ended), nothing is written."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)

    def _get_terminal_size(self) -> tuple[int, int]:
        width, height = super()._get_terminal_size()
        return min(width, _MOST_COLUMNS), min(height, _MOST_ROWS)

    # -- input -----------------------------------------------------------------------------------------------

    def _run_input_thread(self) -> None:
        """What goes wrong here is shown as any fault of the app, and the keyboard works on."""
        while not self.exit_event.is_set():
            try:
                self.run_input_thread()
            except Exception as error:  # noqa: BLE001  # reported, and shown
                if self._loop.is_closed():
                    return  # the app has ended: what was typed meanwhile is for nobody
                self._loop.call_soon_threadsafe(self._report, error)

    def _report(self, error: Exception) -> None:
        try:
            raise error  # the app's last words are of the exception being handled
        except Exception as raised:  # noqa: BLE001
            self._app._handle_exception(raised)

    def run_input_thread(self) -> None:
        """Until the app ends, or the terminal."""
        keyboard = Keyboard(self._debug)
        while not self.exit_event.is_set():
            self._let_app_catch_up()
            poll = _POLL_SOON_S if keyboard.is_waiting else _POLL_S
            ready, _, _ = select.select([self.fileno], [], [], poll)
            data = self._read() if ready else None
            if data == b"":
                self._gone()
                self.exit_event.wait()
                return
            now = time.monotonic()
            for message in keyboard.tick(now) if data is None else keyboard.feed(data, now):
                self.process_message(message)

    def _read(self) -> bytes | None:
        """What there is; ``None``: nothing after all, empty: nothing ever again."""
        try:
            return os.read(self.fileno, _READ)
        except BlockingIOError:
            return None
        except OSError:  # EIO, usually
            return b""

    def _let_app_catch_up(self) -> None:
        """Wait while too much of what was typed is not done yet: what is not read yet waits in the terminal."""
        while not self.exit_event.is_set() and (
            (self._sent is not None and not self._sent.done()) or self._app.message_queue_size > _MOST_WAITING
        ):
            self.exit_event.wait(_POLL_SOON_S)

    def send_message(self, message: Message) -> None:
        self._sent = asyncio.run_coroutine_threadsafe(self._app._post_message(message), loop=self._loop)

    def process_message(self, message: Message) -> None:
        """Runs in the input thread. What no keyboard and no terminal says is left out."""
        if isinstance(message, events.Resize):
            width, height = message.size
            if not (0 < width <= _MOST_COLUMNS and 0 < height <= _MOST_ROWS):
                return
        if isinstance(message, events.Key) and any("\ud800" <= each <= "\udfff" for each in message.key):
            return  # half a character
        super().process_message(message)


def own_driver(driver: type[Driver]) -> type[Driver]:
    """Ours in place of Textual's for a terminal; any other (headless, in a browser) as it is."""
    return TerminalDriver if driver is LinuxDriver else driver
