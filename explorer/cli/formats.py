"""``--format``: the option of commands that print text, or the same for others to read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ("format_option",)

_F = TypeVar("_F", bound=Callable[..., Any])


def format_option(*others: str, hint: str = "") -> Callable[[_F], _F]:
    """Gives a command ``format_``: "text", or one of the others. :param hint: goes into the help text"""
    kinds = click.Choice(["text", *others])
    return click.option("--format", "format_", type=kinds, default="text", help=f"Default: text.{hint}")
