"""The app's side of a browser's tab: textual's driver for it, with two faults mended."""

from __future__ import annotations

import ctypes
import signal

from textual import events
from textual.drivers.web_driver import WebDriver

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
