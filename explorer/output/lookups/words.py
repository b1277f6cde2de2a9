"""What is said of a trace as a whole: what it is of, who asked for what, what was lost, which modules are ready."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.analysis.lookups import (
    VMLINUX,
    Asked,
    LookupMeaning,
    ModuleReadiness,
    Readiness,
    Summary,
    lost_words,
)
from explorer.model import TraceEnd, TraceHeader, escape_text
from explorer.naming import count
from explorer.output.table import Table, TableColumn, fit, fit_middle, wrap_escaped

__all__ = ("heading_lines", "readiness_lines", "summary_lines")

_PIPE_WIDTH = 80
_INDENT = 16
#: Of these there is something to do.
_SAID_IN_FULL = (LookupMeaning.FAILS, LookupMeaning.WOULD_FAIL, LookupMeaning.EMPTY, LookupMeaning.UNKNOWN)


def _wrap(text: str, width: int | None, first: str = "", indent: int = _INDENT) -> list[str]:
    return wrap_escaped(text, width or _PIPE_WIDTH, first, indent)


def heading_lines(header: TraceHeader, name: str, width: int | None) -> list[str]:
    """What was traced; escaped. :param name: of the file or target"""
    about = f"Linux {header.release}, {header.generation}, {header.watched} of {header.nodename}, {name}"
    return _wrap(about, width, indent=0)


def summary_lines(summary: Summary, end: TraceEnd | None, width: int | None) -> list[str]:
    """Who asked for what, worst first; what was lost; how many there were. Escaped."""
    lines: list[str] = []
    said: set[str] = set()
    for asked in summary.groups:
        lines += _asked_lines(asked, width)
        if asked.meaning.kind in _SAID_IN_FULL:
            lines += _meaning_lines(asked, said, width)
    if summary.ungrouped:
        lines += _wrap(
            f"{count(summary.ungrouped, 'lookup')} of others who asked, too many to tell apart.",
            width,
            indent=0,
        )
    if lines:
        lines.append("")
    for words in lost_words(end):
        lines += _wrap(words, width, indent=0)
    kinds = [f"{summary.meanings[kind]} {kind}" for kind in LookupMeaning if summary.meanings[kind]]
    return [
        *lines,
        *_wrap(
            f"{count(summary.lookups, 'lookup')}{': ' if kinds else ''}{', '.join(kinds)}.", width, indent=0
        ),
    ]


def _asked_lines(asked: Asked, width: int | None) -> list[str]:
    asker = asked.asker
    who = "nobody knows who" if asker is None else asker.label
    if asker is not None and asker.taint:
        who += f" (tainted: {asker.taint})"
    if asker is not None and asked.module is not None and asker.module is None:
        who += f", called by {asked.module}"
    results = ", ".join(f"{number} {name}" for name, number in asked.results.most_common(5))
    when = (
        f"at {asked.first_s:.3f} s" if asked.number == 1 else f"{asked.first_s:.3f} s to {asked.last_s:.3f} s"
    )
    function = asked.meaning.function
    inside = (
        "" if function is None or (asker is not None and asker.function == function) else f" in {function}"
    )
    lines = _wrap(
        f"{who}{inside}: {count(asked.number, 'lookup')}, {when}; {results}", width, asked.meaning.kind
    )
    room = (width or _PIPE_WIDTH) - _INDENT
    said = [escape_text(path) or '""' for path in asked.paths] or ["(a path that is not known)"]
    said += ["and others"] if asked.more_paths else []
    tasks = ", ".join(map(escape_text, asked.tasks)) + (" and others" if asked.more_tasks else "")
    lines += [" " * _INDENT + fit_middle(path, room) for path in said]
    return [*lines, " " * _INDENT + fit(f"by {tasks}", room)]


def _meaning_lines(asked: Asked, said: set[str], width: int | None) -> list[str]:
    """What it means is said once."""
    meaning = asked.meaning
    lines = []
    if meaning.explanation not in said:
        said.add(meaning.explanation)
        lines += _wrap(meaning.explanation, width, " " * _INDENT)
    if meaning.do:
        where = "" if asked.module is None or not asked.meaning.is_bad else f" In {asked.module}:"
        do = meaning.do if not where else f"{meaning.do[0].lower()}{meaning.do[1:]}"
        lines += _wrap(f"Do:{where} {do}", width, " " * _INDENT)
    return lines


def readiness_lines(modules: Sequence[ModuleReadiness], width: int | None) -> list[str]:
    """Which modules are ready for 7.3, worst first; those that are, are counted. Escaped."""
    shown = [module for module in modules if module.readiness is not Readiness.READY]
    columns = [
        TableColumn("MODULE", least=12),
        TableColumn("TAINT"),
        TableColumn("READINESS"),
        TableColumn("WHY", least=20, cut=fit_middle),
    ]
    rows = [
        [
            escape_text(module.name),
            _taint(module),
            module.readiness.value,
            escape_text(_why(module)),
        ]
        for module in shown
    ]
    lines = ["", *Table(columns, rows).lines(width)] if rows else []
    ready = len(modules) - len(shown)
    whose = "its" if ready == 1 else "their"
    words = f"{count(ready, 'other module')}: no lookups from the root of {whose} task."
    return [*lines, "", *(_wrap(words, width, indent=0) if ready else [])]


def _taint(module: ModuleReadiness) -> str:
    if not module.loaded:
        return "not loaded" if not module.seen else "?"
    return "?" if module.taint is None else escape_text(module.taint) or "-"


def _why(module: ModuleReadiness) -> str:
    parts = [f"{module.says}: {', '.join(module.functions)}" if module.functions else module.says]
    if module.seen:
        askers = dict.fromkeys("?" if asked.asker is None else asked.asker.function for asked in module.seen)
        parts.append(f"seen in {', '.join(askers)}")
    if module.report is not None and module.report.lookups:
        parts.append(f"takes {', '.join(module.report.lookups)}")
    if module.why is not None and module.name != VMLINUX:
        parts.append(module.why)
    return "; ".join(parts)
