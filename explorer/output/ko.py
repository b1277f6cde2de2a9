"""Verdicts on kernel modules, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from explorer.analysis import CAVEAT
from explorer.model import ModuleReport, escape_text

__all__ = ("modules_json", "render_module")

_LABELS = (
    ("lookups", "looks up from its task's root"),
    ("anchored", "looks up below a directory it holds"),
    ("system_call", "looks up names from user memory"),
    ("delegated", "the kernel looks up from init's root"),
    ("borrows", "borrows by"),
    ("kthreads", "starts kernel threads by"),
    ("work", "runs work by"),
)
_UNSHARES = "unshare_fs_struct: a private copy of what the thread has; on 7.3 that is the empty nullfs"


def render_module(report: ModuleReport) -> list[str]:
    """A module's verdict and what it rests on: a few lines."""
    facts = [escape_text(fact) for fact in (report.license, report.vermagic) if fact]
    lines = [f"{escape_text(report.name)}: {report.meaning}"]
    lines.append(f"  {', '.join([escape_text(report.path), *facts])}")
    for name, label in _LABELS:
        symbols: list[str] = getattr(report, name)
        if symbols:
            lines.append(f"  {label}: {', '.join(map(escape_text, symbols))}")
    if report.unshares:
        lines.append(f"  {_UNSHARES}")
    if report.lookups and not report.kthreads and not report.work:
        lines.append("  starts no kernel threads and no work itself: the lookups may all be in system calls")
    return lines


def modules_json(reports: Sequence[ModuleReport]) -> str:
    """``{"schema_version": 1, "caveat": …, "modules": […]}``."""
    document = {
        "schema_version": 1,
        "caveat": CAVEAT,
        "modules": [report.model_dump(mode="json") for report in reports],
    }
    return json.dumps(document, indent=2)
