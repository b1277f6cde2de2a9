"""A comparison as the screen shows it: both sides in a line each, the counts, and a table of differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from explorer.analysis import VerdictKind
from explorer.analysis.diff import KINDS, Comparison, Difference, DifferenceKind, Sign
from explorer.model import KERNEL, Reference, Snapshot, escape_text
from explorer.output import fit_middle
from explorer.tui.views.details import Detail, Fact, RecordTable
from explorer.tui.views.tasks import longest_common

from .table import Cell, ViewColumn

__all__ = (
    "SIDES",
    "compared",
    "comparison_table",
    "counts_line",
    "describe_difference",
    "matched_line",
    "select_differences",
    "side_line",
)

SIDES = ("A", "B")
_LONG = 20
#: Terminal columns of a target's name.
_MOST_OF_A_TARGET = 60
_TONES = {Sign.ONLY_B: "good", Sign.ONLY_A: "bad", Sign.UNLIKE: "warn"}
_PLURALS = {
    DifferenceKind.KERNEL: "kernel",
    DifferenceKind.TASK: "tasks",
    DifferenceKind.WORKERS: "workers",
    DifferenceKind.FS_STRUCT: "fs_structs",
    DifferenceKind.MOUNT: "mounts",
    DifferenceKind.NAMESPACE: "namespaces",
    DifferenceKind.FINDING: "findings",
}
_COLUMNS = (
    ViewColumn("sign", "", 1),
    ViewColumn("kind", "WHAT", 9),
    ViewColumn("name", "NAME", 15, 2),
    ViewColumn("what", "FACT", 9, rank=1),
    ViewColumn("before", "IN A", 14, 3, rank=1),
    ViewColumn("after", "IN B", 14, 3, rank=1),
)


def side_line(comparison: Comparison, side: int) -> tuple[str, str, str]:
    """Verdict, its tone, and what is looked at on a side: 0 or 1."""
    found = comparison.verdicts[side]
    of = comparison.diff.a if side == 0 else comparison.diff.b
    tone = {VerdictKind.ISOLATED: "good", VerdictKind.SHARED: "warn", VerdictKind.UNKNOWN: "warn"}
    errors = f"   {of.errors} values not readable" if of.errors else ""
    text = (
        f"{_target(of.target)}   Linux {escape_text(of.release)} ({of.generation})   {of.tasks} tasks   "
        f"{escape_text(of.moment)}{errors}"
    )
    return found.headline, tone.get(found.kind, "bad"), text


def compared(a: Snapshot, b: Snapshot) -> str:
    """The names of both targets."""
    return " with ".join(map(_target, (a.capture.source.target, b.capture.source.target)))


def _target(target: str) -> str:
    return fit_middle(escape_text(target.rpartition("/")[2] or target), _MOST_OF_A_TARGET)


def matched_line(comparison: Comparison) -> str:
    """How objects of the two sides were matched, and how much differs."""
    diff = comparison.diff
    boot = "The same boot" if diff.same_boot else "Different boots"
    counts = f"{len(diff.came)} added, {len(diff.went)} gone, {len(diff.changed)} changed"
    return f"{boot}, tasks matched by {diff.matched_by}: {counts}"


def counts_line(comparison: Comparison, chosen: str) -> str:
    """``all 34   [tasks 12]   mounts 3``: what is shown stands in brackets."""
    counts = [("", "all", len(comparison.differences))]
    counts += [(kind, _PLURALS[kind], comparison.count(kind)) for kind in KINDS]
    return "  ".join(
        f"[{name} {count}]" if kind == chosen else f"{name} {count}"
        for kind, name, count in counts
        if count or kind in ("", chosen)
    )


def select_differences(comparison: Comparison, kind: str) -> list[Difference]:
    """Differences about a kind of thing; empty: all."""
    return [each for each in comparison.differences if not kind or each.kind == kind]


def _cells(difference: Difference) -> list[Cell]:
    before, after = _cut_alike(difference.before, difference.after)
    return [
        Cell(difference.sign.value, _TONES[difference.sign]),
        Cell(difference.kind.value, "muted"),
        Cell(escape_text(difference.name)),
        Cell(difference.what, "muted"),
        Cell(_value(before, difference.sign is Sign.ONLY_B)),
        Cell(_value(after, difference.sign is Sign.ONLY_A)),
    ]


def _cut_alike(before: str | None, after: str | None) -> tuple[str | None, str | None]:
    """Two long texts from where they begin to differ: a column would end before that."""
    if before is None or after is None or before == after:
        return before, after
    alike = longest_common([before, after])
    start = max(alike.rfind(" "), alike.rfind("/")) + 1
    return (before, after) if start < _LONG else (f"…{before[start:]}", f"…{after[start:]}")


def _value(value: str | None, absent: bool) -> str:
    """What a side has; an en dash where the object itself is not there."""
    return escape_text(value) if value is not None else "–" if absent else "none"


def comparison_table(differences: Sequence[Difference]) -> RecordTable[Difference]:
    """A row a difference. It leads to the object in B, or in A where it is only there."""

    def reference(difference: Difference) -> Reference | None:
        return difference.b if difference.b is not None else difference.a

    return RecordTable(_COLUMNS, differences, _cells, reference)


def describe_difference(difference: Difference, details: Callable[[int], Detail | None]) -> Detail:
    """A difference in full, then the object. :param details: of either side, 0 or 1; asked for one at most"""
    reference = difference.b or difference.a or KERNEL
    detail = Detail(reference, f"{difference.sign} {difference.kind} {escape_text(difference.name)}")
    for name_of_side, value in zip(SIDES, (difference.before, difference.after), strict=True):
        absent = difference.sign is (Sign.ONLY_B if name_of_side == "A" else Sign.ONLY_A)
        name = f"{difference.what} in {name_of_side}" if difference.what else f"in {name_of_side}"
        detail.facts.append(Fact(name, "not there" if absent else _value(value, False)))
    side = 0 if difference.b is None else 1
    more = details(side)
    if more is not None:
        detail.facts.append(Fact("", f"— in {SIDES[side]}: {more.title}", tone="group"))
        detail.facts += more.facts
        detail.expression = None
    return detail
