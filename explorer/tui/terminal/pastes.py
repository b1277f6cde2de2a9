"""Bracketed pastes, taken out of what a terminal sends before anything in them can be taken for keys.

A terminal frames a paste: ``ESC [ 200 ~`` text ``ESC [ 201 ~`` (ctlseqs, "Bracketed Paste Mode"). Textual's parser
reads the text for keys and sequences all the same. Here nothing in the frame is anything but text, further frames and
the end of this one too: what follows an end without a pause, up to another end, was pasted with it. (A terminal takes
that sequence out of what is pasted. One that does not, and pauses amid a paste, is not to be told from a user.)
"""

from __future__ import annotations

__all__ = ("BEGIN", "END", "MOST", "Paste", "open_end")

BEGIN, END = "\x1b[200~", "\x1b[201~"
#: Characters of a paste that are kept: more than anything here has use for.
MOST = 1 << 16
#: As long as this nothing comes after the last end of a paste: then it was the last.
_QUIET_S = 0.03
#: The mouse is never quiet.
_LONGEST_WAIT_S = 1.0
#: Nobody types as much before it is quiet.
_TYPED = 4096
#: A paste without an end: what the terminal says after so long a pause are keys again.
_STALLED_S = 5.0


def open_end(text: str, marker: str) -> int:
    """How many characters at the end of a text may be the begin of a marker."""
    for length in range(min(len(marker) - 1, len(text)), 0, -1):
        if text.endswith(marker[:length]):
            return length
    return 0


class Paste:
    """One that has begun: it is fed until it is over."""

    def __init__(self, now: float) -> None:
        self._kept: list[str] = []
        self._length = 0
        self._rest = ""
        """Since the last end; before one: what may be the begin of it."""
        self._ended: float | None = None
        """When the last end came."""
        self._heard = now

    def add(self, text: str, now: float) -> None:
        """What came after its begin."""
        self._heard = now
        seen = self._rest + text
        before, end, after = seen.rpartition(END)
        if end:
            self._keep(before)
            self._rest, self._ended = after, now
        elif self._ended is not None and len(seen) <= _TYPED:
            self._rest = seen
        else:
            self._ended = None
            cut = len(seen) - open_end(seen, END)
            self._keep(seen[:cut])
            self._rest = seen[cut:]

    def _keep(self, text: str) -> None:
        room = MOST + 1 - self._length
        if text and room > 0:
            self._kept.append(text[:room])
            self._length += min(len(text), room)

    @property
    def is_waiting(self) -> bool:
        """Its end has come, and perhaps not its last."""
        return self._ended is not None

    def is_over(self, now: float) -> bool:
        """Whether what comes next is none of it."""
        if self._ended is None:
            return now - self._heard >= _STALLED_S
        return now - self._heard >= _QUIET_S or now - self._ended >= _LONGEST_WAIT_S

    def finish(self) -> tuple[str, str]:
        """(the pasted text, at most one character more than :data:`MOST`; what came after it)"""
        text = "".join(self._kept).replace(BEGIN, "").replace(END, "")
        return (text, self._rest) if self._ended is not None else (text + self._rest, "")
