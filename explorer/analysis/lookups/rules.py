"""The rules that SARIF names: a lookup that means this is a result of that rule. An audit of a snapshot has none."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.model import Severity

from .meaning import FIX, LookupMeaning

__all__ = ("LOOKUP_RULES", "LookupRule")


@dataclass(frozen=True, slots=True)
class LookupRule:
    """What is said of all its cases; a lookup's own meaning says more of it."""

    id: str
    meaning: LookupMeaning
    severity: Severity
    title: str
    explanation: str
    advice: str


#: Worst first.
LOOKUP_RULES = (
    LookupRule(
        "NX-LOOKUP-FAILS",
        LookupMeaning.FAILS,
        Severity.HIGH,
        "A lookup starts in nullfs, which is empty",
        "A kernel thread asks that has not borrowed init's fs, or a program that was moved into nullfs: no path is "
        "found there.",
        f"Of a kernel thread: in the module that asks, {FIX}. Of a program: look for who moved it there (audit: "
        "NX-PID1-ABANDONED).",
    ),
    LookupRule(
        "NX-LOOKUP-WOULD-FAIL",
        LookupMeaning.WOULD_FAIL,
        Severity.MEDIUM,
        "A lookup would start in nullfs on 7.3",
        "Before 7.3 a kernel thread starts where init does. No function that was converted upstream is on its stack: "
        "on 7.3 the lookup would start in nullfs, which is empty.",
        f"In the module that asks, {FIX}.",
    ),
    LookupRule(
        "NX-LOOKUP-EMPTY",
        LookupMeaning.EMPTY,
        Severity.LOW,
        "A lookup finds only nullfs, or would",
        "It asks for no more than where it starts, which is nullfs, or would be on 7.3: there is nothing in it.",
        f"If it is init's root that is wanted, {FIX}.",
    ),
    LookupRule(
        "NX-LOOKUP-UNKNOWN",
        LookupMeaning.UNKNOWN,
        Severity.INFO,
        "What a lookup means cannot be told",
        "What decides is not known: its stack was lost, or where it started.",
        "Trace again with less going on. A mount that is not known came after the trace began, or went before it was "
        "looked at.",
    ),
)
