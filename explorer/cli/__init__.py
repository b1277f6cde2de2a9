"""The command line: parse, call, print. No logic lives here, and nothing heavy is imported before it is used."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .given import GivenError, run_command

__all__ = ("GivenError", "main", "run_command")

#: Objects made since the last look for garbage: by 700 of them, the interpreter's own, imports have it looked for a
#: thousand times, and it is a tenth of what a command takes to start. By 50,000 it is looked for once where most of a
#: capture is done: what is looked at is written to, and after a fork all of it is copied for that.
_GARBAGE_AT = 200_000


def main(args: list[str] | None = None) -> None:
    """As :func:`.command.main`. What that imports is imported after the look for garbage has been put off."""
    if args is None:
        gc.set_threshold(_GARBAGE_AT)
    from .command import main as run

    run(args)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import given

    return getattr(given, name)
