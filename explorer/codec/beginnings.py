"""How a file of ours begins: told from its first bytes, without a model of what is in it."""

from __future__ import annotations

__all__ = ("TRACE_BEGINS", "is_trace")

TRACE_BEGINS = b'{"header":'


def is_trace(beginning: bytes) -> bool:
    """Whether a file that begins so is meant to be a trace: its first line is a header of this format."""
    if not beginning.startswith(TRACE_BEGINS):
        return False
    from explorer.model import TRACE_FORMAT  # of any other file no model is loaded

    return f'"format":"{TRACE_FORMAT}"'.encode() in beginning[:200]
