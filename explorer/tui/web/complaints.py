"""What anybody on this machine can have the server complain about: said in short lines, ever fewer, and counted.

Whoever can connect needs no key to send what is no HTTP, and aiohttp logs a traceback for each of these.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

__all__ = ("Complaints",)

#: Told with these numbers, and with every tenfold of the last.
_TOLD = (1, 10, 100)


class Complaints(logging.Handler):
    """Takes what the server logs. :param say: told a line, with nothing in it that a client sent"""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say
        self._next = _TOLD[0]
        self.count = 0

    def logger(self) -> logging.Logger:
        """A logger that nothing else hears."""
        logger = logging.Logger("nullfs-explorer.serve", logging.WARNING)
        logger.addHandler(self)
        return logger

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        self.add("a request that it cannot answer" if kind is None else kind.__name__)

    def add(self, what: str) -> None:
        """One more. :param what: a word of ours, or the name of a class"""
        self.count += 1
        if self.count == self._next:
            self._next = next((number for number in _TOLD if number > self.count), self.count * 10)
            so_far = "" if self.count == 1 else f"; {self.count} so far"
            self._say(f"serve: a request was refused ({what}){so_far}")
