"""What goes wrong in the lab itself: no network, no compiler, a guest that dies."""

from __future__ import annotations

__all__ = ("GuestDiedError", "LabError", "NoSuchKernelError")


class LabError(Exception):
    """The lab cannot do its work; the message is one line that says what is wrong and what to do."""


class GuestDiedError(LabError):
    """The guest ended, or said nothing, before it was ready."""


class NoSuchKernelError(LabError):
    """The mirror answers, and has no kernel of the line: there is nothing to boot."""
