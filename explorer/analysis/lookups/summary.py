"""Lookups by who asked: counted as they come, in bounded memory, however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from explorer.model import KernelText, TraceEnd, comm_and_pid
from explorer.naming import count

from .asking import Asker
from .meaning import BAD, Judged, LookupMeaning, Meaning
from .results import result_name

__all__ = ("MEANINGS", "Asked", "Summary", "asking_key", "lost_words")

_MOST_PATHS = 5
_MOST_TASKS = 3
_MOST_GROUPS = 10_000
#: What is worst comes first.
MEANINGS = tuple(LookupMeaning)


@dataclass(slots=True)
class Asked:
    """What one function asked for, and what that means."""

    asker: Asker | None
    """``None``: the stack was lost."""
    meaning: Meaning
    module: KernelText | None
    """The module to fix."""
    first_s: float
    last_s: float
    number: int = 0
    paths: list[KernelText] = field(default_factory=list)
    """The first few that differ."""
    more_paths: bool = False
    """There were others."""
    tasks: list[KernelText] = field(default_factory=list)
    """``kworker/0:1 (29)``: the first few that differ."""
    more_tasks: bool = False
    results: Counter[str] = field(default_factory=Counter)

    def add(self, judged: Judged) -> None:
        lookup = judged.lookup
        self.number += 1
        self.first_s, self.last_s = min(self.first_s, lookup.time_s), max(self.last_s, lookup.time_s)
        self.results[result_name(lookup.result)] += 1
        if lookup.path is not None:
            self.more_paths |= _keep(self.paths, lookup.path, _MOST_PATHS)
        self.more_tasks |= _keep(self.tasks, comm_and_pid(lookup.comm, lookup.pid), _MOST_TASKS)


def _keep(known: list[KernelText], text: KernelText, most: int) -> bool:
    """Keep a text that is new. Returns whether there is no room for it."""
    if text in known:
        return False
    if len(known) == most:
        return True
    known.append(text)
    return False


def asking_key(judged: Judged) -> Hashable:
    """What lookups have in common that are told as one: who asked, what that means, in which function, which module."""
    who = None if judged.asker is None else (judged.asker.function, judged.asker.module)
    return who, judged.meaning.kind, judged.meaning.function, judged.module


class Summary:
    """Counts what it is given: :meth:`add` every lookup."""

    def __init__(self) -> None:
        self._groups: dict[Hashable, Asked] = {}
        self.lookups = 0
        self.ungrouped = 0
        """Lookups of askers beyond the most that are kept apart."""
        self.meanings: Counter[LookupMeaning] = Counter()

    def add(self, judged: Judged) -> None:
        self.lookups += 1
        self.meanings[judged.meaning.kind] += 1
        asker, meaning = judged.asker, judged.meaning
        key = asking_key(judged)
        asked = self._groups.get(key)
        if asked is None:
            if len(self._groups) == _MOST_GROUPS:
                self.ungrouped += 1
                return
            time_s = judged.lookup.time_s
            asked = self._groups[key] = Asked(asker, meaning, judged.module, time_s, time_s)
        asked.add(judged)

    @property
    def groups(self) -> list[Asked]:
        """Worst meaning first, then by how often."""
        return sorted(
            self._groups.values(),
            key=lambda each: (MEANINGS.index(each.meaning.kind), -each.number, each.first_s),
        )

    @property
    def bad(self) -> int:
        """Lookups that failed in nullfs, or would."""
        return sum(self.meanings[kind] for kind in BAD)

    @property
    def untold(self) -> int:
        """Lookups of which it cannot be told."""
        return self.meanings[LookupMeaning.UNKNOWN]


def lost_words(end: TraceEnd | None) -> list[str]:
    """What a trace does not have, a sentence each; empty: it is whole. Not escaped."""
    if end is None:
        return ["The trace has no end: it was cut off, and what came then is missing."]
    words = []
    if end.events_lost:
        words.append(
            f"Lost: {count(end.events_lost, 'event')}, for which the kernel had no room. A lookup has up to four."
        )
    if end.lookups_lost:
        words.append(
            f"Lost: {count(end.lookups_lost, 'lookup')} of which only the end came. The path is not known."
        )
    if end.reason == "broken":
        words.append("The trace ended before it was told to.")
    return [*words, *end.problems]
