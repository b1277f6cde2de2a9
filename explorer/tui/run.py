"""Start the app: what the command line calls."""

from __future__ import annotations

from explorer.program import end_starter
from explorer.tui.session import Session
from explorer.wire import ExitCode

from .app import ExplorerApp
from .terminal import TerminalDriver
from .themes import theme_for

__all__ = ("run_app",)


def run_app(session: Session) -> int:
    """Run the app until it is closed; its exit code. Ends the process where a signal ended the app."""
    app = ExplorerApp(session)
    app.theme = theme_for(app.theme, app.console.color_system)
    try:
        app.run(mouse=app.mouse)
    finally:
        driver = app._driver
        if isinstance(driver, TerminalDriver):
            driver.leave()
        end_starter()
    # As of any command: Textual's own code for it is 1, which here says that something was found.
    return ExitCode.TARGET if app.return_code else ExitCode.OK
