"""Which modules of a machine will have trouble on 7.3: what they were seen to look up, and what their symbols say.

A trace shows what a module did while one looked; symbols show what it can do. Neither alone is an answer: a lookup at
suspend is in no trace of a quiet minute, and a module that can look up paths may do so in system calls only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from explorer.model import KernelText, ModuleReport, ModuleVerdict, TraceHeader, is_isolating
from explorer.plugin import Plugin

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
    """It borrows; before 7.3: the functions of it that look up paths in kernel threads do so there."""
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
_SAYS_BEFORE = {**_SAYS, Readiness.CONVERTED: "converted upstream"}
#: Of a module with one of these taints the kernel's own version is another: O out of tree, P proprietary.
_NOT_THE_KERNELS = frozenset("OP")
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
    functions: tuple[KernelText, ...]
    """Those of it that borrow on 7.3, of a module that is converted upstream; what was seen comes first."""
    why: str | None = None
    """Why there is no report."""


def readiness_of(
    header: TraceHeader,
    groups: Iterable[Asked],
    reports: Mapping[str, ModuleReport],
    unread: Mapping[str, str],
    plugins: Iterable[Plugin],
) -> list[ModuleReadiness]:
    """Every module that was loaded, that was seen, or that there is a report of; worst first, then by name.

    :param reports: what ``ko`` says of a module, by its name
    :param unread: why there is none
    :param plugins: they know which functions of which module borrow on 7.3
    """
    isolates = is_isolating(header.generation)
    seen: dict[str, list[Asked]] = {}
    converted: dict[str, list[KernelText]] = {}
    for asked in groups:
        name = VMLINUX if asked.module is None else asked.module
        asker, meaning = asked.asker, asked.meaning
        if meaning.is_bad and asker is not None:
            seen.setdefault(name, []).append(asked)
        elif meaning.kind is LookupMeaning.CONVERTED and asker is not None and asker.module == name:
            # Of what the kernel's own function does for a module, nothing follows for the module's others.
            converted.setdefault(name, []).extend(filter(None, [meaning.function]))
    taints: dict[str, str | None] = {module.name: module.taints for module in header.modules}
    for name, known in () if isolates else _known_to_borrow(plugins):
        if not _NOT_THE_KERNELS & set(taints.get(name) or ""):
            converted.setdefault(name, []).extend(known)
    loaded = {*taints, VMLINUX}
    for name in (*seen, *reports, *unread):
        taints.setdefault(name, "" if name == VMLINUX else None)
    found = []
    for name, taint in taints.items():
        report, lookups = reports.get(name), seen.get(name, [])
        functions = tuple(dict.fromkeys(converted.get(name, ())))
        readiness = _readiness(report, lookups, bool(functions))
        missing = None
        if report is None and name != VMLINUX:
            missing = unread.get(name, "its file was not looked for")
        says = (_SAYS if isolates else _SAYS_BEFORE)[readiness]
        functions = functions if readiness is Readiness.CONVERTED else ()
        found.append(
            ModuleReadiness(name, taint, name in loaded, readiness, says, lookups, report, functions, missing)
        )
    order = list(Readiness)
    return sorted(found, key=lambda each: (order.index(each.readiness), each.name))


def _known_to_borrow(plugins: Iterable[Plugin]) -> Iterator[tuple[str, list[str]]]:
    """The functions of a module that look up paths in kernel threads, and borrow on 7.3."""
    for plugin in plugins:
        for name in plugin.needs_modules if plugin.borrows else ():
            yield name, [borrows.function for borrows in plugin.borrows]


def _readiness(report: ModuleReport | None, seen: list[Asked], is_converted: bool) -> Readiness:
    """What was seen outweighs what is known of it, and that what symbols say."""
    if seen:
        return min((_SEEN[asked.meaning.kind] for asked in seen), key=list(Readiness).index)
    if is_converted:
        return Readiness.CONVERTED
    return Readiness.UNKNOWN if report is None else _VERDICTS[report.verdict]
