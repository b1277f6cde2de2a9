"""Start the app: what the command line calls."""

from __future__ import annotations

from explorer.tui.session import Session

from .app import ExplorerApp
from .themes import theme_for

__all__ = ("run_app",)


def run_app(session: Session) -> int:
    """Run the app until it is closed; its exit code."""
    app = ExplorerApp(session)
    app.theme = theme_for(app.theme, app.console.color_system)
    app.run()
    return app.return_code or 0
