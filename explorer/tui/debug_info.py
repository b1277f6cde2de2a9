"""What a bug report needs to know of the app and of what it shows. All text is escaped."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable
from typing import Any

import textual
from textual.app import App

from explorer.model import escape_text
from explorer.tui.session import Session, View
from explorer.tui.views.details import describe
from explorer.version import __version__

from .faults import Fault
from .navigation import KERNEL
from .settings import config_directory

__all__ = ("debug_lines", "fault_lines")


def debug_lines(app: App[Any], session: Session, view: View | None, faults: Iterable[Fault]) -> list[str]:
    """Versions, terminal, reader, kernel, and the faults so far."""
    lines = [
        f"nullfs-explorer {__version__}, textual {textual.__version__}, Python {platform.python_version()}",
        f"terminal {escape_text(os.environ.get('TERM', '?'))}, {app.size.width}x{app.size.height}, "
        f"colours {app.console.color_system}, theme {app.theme}",
        f"system {platform.system()} {platform.release()} {platform.machine()}, uid {os.geteuid()}",
        f"settings {escape_text(str(config_directory()))}",
        f"reader {escape_text(sys.executable)} -m explorer snapshot {escape_text(session.target)}",
    ]
    if view is not None:
        lines += ["", *_facts_of(view)]
    for fault in reversed([*faults]):
        lines += ["", *fault_lines(fault)]
    return lines


def fault_lines(fault: Fault) -> list[str]:
    """One fault, with its traceback."""
    return [f"fault on {fault.where}, {fault.when}: {fault.what}", *fault.trace]


def _facts_of(view: View) -> list[str]:
    detail = describe(KERNEL, view.snapshot)
    lines = [f"{fact.name:<15} {fact.value}" for fact in detail.facts]
    for error in view.audit.errors:
        lines.append(escape_text(f"{'audit failed':<15} {error.where}: {error.why}"))
    for silent in view.audit.not_judged:
        lines.append(escape_text(f"{'cannot tell':<15} {silent.rule}: {silent.why}"))
    return lines
