"""What can go wrong between a user's words and an open kernel."""

from __future__ import annotations

__all__ = ("TargetError",)


class TargetError(Exception):
    """The target cannot be opened.

    The message is one line that says what is wrong and what to do; the CLI prints it on stderr and exits
    with code 3.
    """
