"""Start the app: what the command line calls."""

from __future__ import annotations

from collections.abc import Sequence

from .app import ExplorerApp
from .state import Session

__all__ = ("run_app",)


def run_app(arguments: Sequence[str], guess: bool = False) -> int:
    """Run the app until it is closed; its exit code.

    :param arguments: of the reader: target and options
    :param guess: no target was named
    """
    app = ExplorerApp(Session(tuple(arguments), guess))
    app.run()
    return app.return_code or 0
