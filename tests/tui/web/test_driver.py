"""What a browser's tab sends to the app is taken as what a terminal sends."""

from __future__ import annotations

import time

from textual import events
from textual.message import Message

from explorer.tui.web.driver import BrowserDriver


class Reader:
    """What the server says, one read after the other, with a pause at the end."""

    def __init__(self, *reads: bytes) -> None:
        self._reads = [b"D" + len(data).to_bytes(4, "big") + data for data in reads]
        self.closed = False

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> bytes:
        if self._reads:
            return self._reads.pop(0)
        if self.closed:
            raise StopIteration
        self.closed = True
        time.sleep(0.1)
        return b""

    def close(self) -> None:
        self.closed = True


def test_no_byte_of_a_tab_makes_it_deaf_and_what_is_pasted_runs_no_key() -> None:
    said: list[Message] = []
    driver = BrowserDriver.__new__(BrowserDriver)
    driver._debug = False
    driver.process_message = said.append  # type: ignore[method-assign, assignment]
    driver._input_reader = Reader(b"\xc3", b"\xa9\xffq", b"\x1b[200~a\x1b[Ab\x1b[201~")  # type: ignore[assignment]
    driver.run_input_thread()
    keys = [message.key for message in said if isinstance(message, events.Key)]
    assert keys == ["é", "replacement_character", "q"]
    assert [message.text for message in said if isinstance(message, events.Paste)] == ["a\x1b[Ab"]
