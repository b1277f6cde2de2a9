"""Which modules of a machine will have trouble on 7.3: what they were seen to look up, and what their symbols say.

A trace shows what a module did while one looked; symbols show what it can do. Neither alone is an answer: a lookup at
suspend is in no trace of a quiet minute, and a module that can look up paths may do so in system calls only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from explorer.model import KernelText, LoadedModule, ModuleReport, ModuleVerdict

from .meaning import LookupMeaning
from .summary import Asked

__all__ = ("VMLINUX", "ModuleReadiness", "Readiness", "readiness_of")

#: The kernel itself, among modules.
VMLINUX = "vmlinux"


class Readiness(StrEnum):
    """Worst first."""

    FAILS = "fails"
    """It was seen to look paths up in nullfs."""
    WOULD_FAIL = "would-fail"
    """It was seen to make lookups that would start there."""
    EXPOSED = "exposed"
    """It can look up paths and never borrows; it was not seen to do so in a kernel thread."""
    UNKNOWN = "unknown"
    """Its file could not be read."""
    CONVERTED = "converted"
    """It borrows."""
    READY = "ready"
    """It looks up no paths, or only where the root of its own task does not matter."""


_SAYS = {
    Readiness.FAILS: "its lookups fail in nullfs",
    Readiness.WOULD_FAIL: "its lookups would fail on 7.3",
    Readiness.EXPOSED: "looks up paths and never borrows; not seen in a kernel thread",
    Readiness.UNKNOWN: "not judged",
    Readiness.CONVERTED: "borrows init's fs",
    Readiness.READY: "no lookups from its task's root",
}
_VERDICTS = {
    ModuleVerdict.EXPOSED: Readiness.EXPOSED,
    ModuleVerdict.BORROWS: Readiness.CONVERTED,
    ModuleVerdict.SAFE: Readiness.READY,
    ModuleVerdict.NONE: Readiness.READY,
}
_SEEN = {LookupMeaning.FAILS: Readiness.FAILS, LookupMeaning.WOULD_FAIL: Readiness.WOULD_FAIL}


@dataclass(frozen=True, slots=True)
class ModuleReadiness:
    """One module, or the kernel itself. Text is not escaped."""

    name: KernelText
    taint: str | None
    """``None``: not known."""
    loaded: bool
    """When the trace began."""
    readiness: Readiness
    says: str
    seen: list[Asked]
    """What it was seen to ask for that fails in nullfs, or would."""
    report: ModuleReport | None
    """What its symbols say."""
    why: str | None = None
    """Why there is no report."""


def readiness_of(
    modules: Sequence[LoadedModule],
    groups: Iterable[Asked],
    reports: Mapping[str, ModuleReport],
    unread: Mapping[str, str],
) -> list[ModuleReadiness]:
    """Every module that was loaded, that was seen, or that there is a report of; worst first, then by name.

    :param reports: what ``ko`` says of a module, by its name
    :param unread: why there is none
    """
    seen: dict[str, list[Asked]] = {}
    for asked in groups:
        if asked.meaning.is_bad and asked.asker is not None:
            seen.setdefault(VMLINUX if asked.module is None else asked.module, []).append(asked)
    taints: dict[str, str | None] = {module.name: module.taints for module in modules}
    loaded = {*taints, VMLINUX}
    for name in (*seen, *reports, *unread):
        taints.setdefault(name, "" if name == VMLINUX else None)
    found = []
    for name, taint in taints.items():
        report, lookups = reports.get(name), seen.get(name, [])
        readiness = _readiness(report, lookups)
        missing = None
        if report is None and name != VMLINUX:
            missing = unread.get(name, "its file was not looked for")
        found.append(
            ModuleReadiness(
                name, taint, name in loaded, readiness, _SAYS[readiness], lookups, report, missing
            )
        )
    order = list(Readiness)
    return sorted(found, key=lambda each: (order.index(each.readiness), each.name))


def _readiness(report: ModuleReport | None, seen: list[Asked]) -> Readiness:
    """What was seen outweighs what symbols say."""
    if seen:
        return min((_SEEN[asked.meaning.kind] for asked in seen), key=list(Readiness).index)
    return Readiness.UNKNOWN if report is None else _VERDICTS[report.verdict]
