"""What is wrong with a fleet, in one line for the user."""

from __future__ import annotations

__all__ = ("FleetError", "FleetWriteError")


class FleetError(Exception):
    """A dataset cannot be read or written, or what runs it is not there; the message is one line, not escaped."""


class FleetWriteError(FleetError):
    """A dataset cannot be written where it was to be."""
