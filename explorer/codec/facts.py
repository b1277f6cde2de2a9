"""Facts of plugins in a file from a stranger: any JSON, and yet nothing that cannot be written again."""

from __future__ import annotations

from math import isfinite
from typing import Any

__all__ = ("check_facts",)

#: Facts are records of a few levels. Whoever walks through what is nested deeper runs out of stack.
_MAX_DEPTH = 64


def check_facts(facts: dict[str, dict[str, Any]]) -> None:
    """Look through all facts. :raises ValueError: if a number in them is not finite, or they are nested too deeply"""
    level: list[Any] = list(facts.values())
    for _ in range(_MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, float) and not isfinite(value):
                raise ValueError("plugins: a number that is not finite")
        if not below:
            return
        level = below
    raise ValueError(f"plugins: nested more than {_MAX_DEPTH} levels deep")
