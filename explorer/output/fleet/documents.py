"""A report on a fleet as JSON. The document has what the records of :mod:`explorer.fleet.summary` have, by their names.

::

    {"format": "nullfs-explorer fleet report", "version": 1, "tool_version": …, "exit_code": 1,
     "fleet": …, "targets": 12, "outcomes": {"ok": 11, …}, "by_severity": {"critical": 1, …},
     "releases": [{…}], "rules": [{…}], "unlike": [{…}], "unlike_more": 0, "borrowing": {…},
     "unread": [{…}], "unread_more": 0, "against": null}

Lists are bounded; what is left out of one is counted beside it.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from explorer import __version__
from explorer.fleet.summary import FleetSummary

__all__ = ("report_document",)

_VERSION = 1


def report_document(summary: FleetSummary, exit_code: int) -> dict[str, Any]:
    """:param exit_code: what the command will end with"""
    head = {
        "format": "nullfs-explorer fleet report",
        "version": _VERSION,
        "tool_version": __version__,
        "exit_code": exit_code,
    }
    return {**head, **asdict(summary)}
