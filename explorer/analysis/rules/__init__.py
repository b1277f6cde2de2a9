"""The audit rules, a file per subject. ``RULES`` is all of them, in the order in which they are listed."""

from __future__ import annotations

from explorer.analysis.rule import Rule

from . import borrowing, holders, kthreads, namespaces, pid1, reading, references, roots, sharing, walks
from .borrowing import borrowing_function, merge_borrowers
from .hanging import HangingTask, find_hanging, hanging_words, others_words

__all__ = (
    "RULES",
    "HangingTask",
    "borrowing_function",
    "find_hanging",
    "find_rule",
    "hanging_words",
    "merge_borrowers",
    "others_words",
)

RULES: tuple[Rule, ...] = (
    *pid1.RULES,
    *kthreads.RULES,
    *sharing.RULES,
    *borrowing.RULES,
    *walks.RULES,
    *references.RULES,
    *roots.RULES,
    *holders.RULES,
    *namespaces.RULES,
    *reading.RULES,
)


def find_rule(rule_id: str) -> Rule:
    """The rule of that id, case-insensitively. :raises KeyError: if there is none"""
    return {rule.id: rule for rule in RULES}[rule_id.upper()]
