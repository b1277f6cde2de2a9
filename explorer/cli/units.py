"""What options take that click has no type for: sizes, durations, conditions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from explorer.analysis.query import Condition

__all__ = ("ConditionType", "Duration", "MemorySize", "Size")

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "": 1.0}
_LEAST_MEMORY = 64 << 20
_MAX_MEMORY = 1 << 46


class Size(click.ParamType[int]):
    """Bytes, with an optional K, M or G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(value[-1:].upper(), 1)
        digits = value if factor == 1 else value[:-1]
        if not digits.isdecimal():
            self.fail(f"{value!r} is no size such as 2G, 3072M or 2147483648", param, ctx)
        return int(digits) * factor


class Duration(click.ParamType[float]):
    """Seconds, with an optional ms, s or m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|)", value)
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if seconds < 0.001:
            self.fail(f"{value!r} is no duration such as 50ms, 1s or 2m", param, ctx)
        return seconds


class MemorySize(click.ParamType[int]):
    """Bytes, written as QEMU's ``-m`` takes them: MiB, or with a suffix."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(
            r"(?:size=)?([0-9]{1,15}(?:\.[0-9]{1,9})?)([BKMGT]?)", value, re.ASCII | re.IGNORECASE
        )
        if match is None:
            self.fail(f"{value!r} is no size such as 256 (MiB), 256M or 1G", param, ctx)
        size = int(Decimal(match[1]) * (1 << 10 * "BKMGT".index(match[2].upper() or "M")))
        if not _LEAST_MEMORY <= size <= _MAX_MEMORY:
            self.fail(f"{value!r} is not from 64M to {_MAX_MEMORY >> 40}T", param, ctx)
        return size


class ConditionType(click.ParamType["Condition"]):
    """A condition; a bad one ends the command before anything is opened."""

    name = "condition"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Condition:
        from explorer.analysis.query import Condition, QueryError, parse_condition

        if isinstance(value, Condition):
            return value
        try:
            return parse_condition(value)
        except QueryError as error:
            self.fail(f"column {error.position + 1}\n\n{error.render()}", param, ctx)
