"""What files of ours say that they are: for whoever looks at the first bytes of one, and loads no model for it."""

from __future__ import annotations

from typing import Literal

__all__ = ("TRACE_FORMAT",)

TRACE_FORMAT: Literal["nullfs-explorer trace"] = "nullfs-explorer trace"
