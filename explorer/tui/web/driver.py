"""The app's side of a browser's tab: textual's driver for it, with its faults mended."""

from __future__ import annotations

import ctypes
import signal
import time

from textual import events
from textual.drivers._byte_stream import ByteStream
from textual.drivers.web_driver import WebDriver, _ExitInput

from explorer.tui.terminal import Keyboard

__all__ = ("BrowserDriver",)

_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


class BrowserDriver(WebDriver):
    """Speaks to the server through stdin and stdout."""

    def start_application_mode(self) -> None:
        # The input thread ends with the server, the app would not: it waits for input for ever.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        super().start_application_mode()
        # It starts with the news that nobody looks at the app, which then draws no footer and focuses nothing.
        self._app.call_later(self._app.post_message, events.AppFocus())

    def run_input_thread(self) -> None:
        """As a terminal's: Textual's ends, without a word, at a byte that is not UTF-8 or a character in two parts."""
        keyboard, packets = Keyboard(self._debug), ByteStream()
        try:
            for data in self._input_reader:
                now = time.monotonic()
                for kind, payload in packets.feed(data) if data else ():
                    if kind == "D":
                        for message in keyboard.feed(payload, now):
                            self.process_message(message)
                    else:
                        self._on_meta(kind, payload)
                for message in keyboard.tick(now):
                    self.process_message(message)
        except _ExitInput:
            return
        finally:
            self._input_reader.close()
