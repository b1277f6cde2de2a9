"""Rules about the snapshot itself: what could not be read cannot be judged."""

from __future__ import annotations

from collections.abc import Iterator

from explorer.analysis.rule import AuditContext, Case, Rule
from explorer.model import Severity
from explorer.naming import count

__all__ = ("RULES",)


def _find_unreadable(context: AuditContext) -> Iterator[Case]:
    errors = context.snapshot.errors
    if errors:
        first = errors[0]
        yield Case(
            f"{count(len(errors), 'value')} could not be read; the first: {first.where}: {first.what}: {first.why}",
            [],
        )


RULES = (
    Rule(
        id="NX-UNREADABLE",
        severity=Severity.INFO,
        title="Values could not be read",
        explanation="The rules do not guess: what depends on a missing value was not judged, so that an audit without "
        "findings is not a clean bill here. On a running kernel a few such values are normal.",
        advice="nullfs-explorer snapshot lists them all under errors. Read the running kernel again, or take a "
        "dump with more of its memory (makedumpfile -d 1).",
        find=_find_unreadable,
    ),
)
