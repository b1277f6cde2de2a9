"""What an output is and where it goes: types of options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ("OutputFile", "format_option")

_F = TypeVar("_F", bound=Callable[..., Any])


class OutputFile(click.ParamType[Path | None]):
    """A file to write, as a ``Path``.

    :param or_stdout: ``-`` is standard output, and becomes ``None``; else it is refused
    """

    name = "file"

    def __init__(self, or_stdout: bool = False) -> None:
        self._or_stdout = or_stdout

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path | None:
        if value == "":
            self.fail("an empty name: name a file", param, ctx)
        if value != "-":
            return Path(value)
        if not self._or_stdout:
            self.fail("this cannot go to standard output: name a file (./- for one called -)", param, ctx)
        return None


def format_option(*others: str, hint: str = "") -> Callable[[_F], _F]:
    """Gives a command ``format_``: "text", or one of the others. :param hint: goes into the help text"""
    kinds = click.Choice(["text", *others])
    return click.option("--format", "format_", type=kinds, default="text", help=f"Default: text.{hint}")
