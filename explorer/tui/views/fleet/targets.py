"""The targets of a fleet, a row each: what their verdict is, what was found, and what came of reading them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import takewhile

from explorer.analysis import VerdictKind
from explorer.analysis.query import FieldType
from explorer.fleet import FleetTarget, Outcome
from explorer.model import Reference
from explorer.naming import count
from explorer.tui.views.details import SEVERITY_TONES, ColumnValue, Detail, Fact, RecordTable
from explorer.tui.views.table import Cell, ViewColumn

__all__ = ("describe_target", "fleet_line", "target_reference", "targets_table")

_COLUMNS = (
    ViewColumn("verdict", "VERDICT", 9),
    ViewColumn("target", "TARGET", 20, 3),
    ViewColumn("release", "RELEASE", 14, 2, rank=1),
    ViewColumn("host", "HOST", 10, 1, rank=3),
    ViewColumn("findings", "FINDINGS", 18),
    ViewColumn("outcome", "OUTCOME", 11, rank=2),
    ViewColumn("rules", "RULES", 28, 3, rank=4),
)
_TONES = {
    VerdictKind.ISOLATED.value: "good",
    VerdictKind.SHARED.value: "",
    VerdictKind.ABANDONED.value: "critical",
    VerdictKind.BREACHED.value: "bad",
    VerdictKind.UNKNOWN.value: "warn",
}
#: Digits of a key that tell two targets apart as an address tells two objects: 64 bits of a hash.
_KEY_DIGITS = 16
#: Of what was found, so much is said in a cell.
_SEVERITIES_SAID = 2


def target_reference(target: FleetTarget) -> Reference:
    """A target as what a row is about: a kernel, known by its key."""
    return Reference(kind="kernel", address=int(target.key[:_KEY_DIGITS], 16), label=target.path)


def targets_table(targets: Sequence[FleetTarget]) -> RecordTable[FleetTarget]:
    """In the order in which they come; named from the directory that all of them are in."""
    above = len(_common(targets))
    values = {
        "findings": ColumnValue(
            FieldType.NUMBER, lambda each: each.found if each.is_read else None, _by_worst
        ),
        "rules": ColumnValue(get=lambda each: each.rules),
    }
    return RecordTable(_COLUMNS, targets, partial(_cells, above=above), target_reference, values)


def _common(targets: Sequence[FleetTarget]) -> str:
    """The directory that all targets are in, with a slash; empty where they have none in common."""
    above = [target.path.split("/")[:-1] for target in targets]
    alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*above, strict=False))
    return "".join(f"{parts[0]}/" for parts in alike)


def _by_worst(target: FleetTarget) -> tuple[int, ...] | None:
    return target.rank if target.is_read else None


def _cells(target: FleetTarget, above: int) -> list[Cell]:
    read = target.is_read
    bad = target.outcome != Outcome.OK
    return [
        Cell(target.verdict or "-", _TONES.get(target.verdict or "", "")),
        Cell(target.path[above:]),
        Cell(target.release or ""),
        Cell(target.host or ""),
        Cell(_findings(target) if read else "", _worst_tone(target)),
        Cell(target.outcome, "warn" if bad else ""),
        Cell(" ".join(target.rules)),
    ]


def _findings(target: FleetTarget) -> str:
    said = [f"{number} {severity}" for severity, number in target.findings.items()]
    return ", ".join(said[:_SEVERITIES_SAID]) + (" …" if said[_SEVERITIES_SAID:] else "") or "none"


def _worst_tone(target: FleetTarget) -> str:
    return SEVERITY_TONES.get(next(iter(target.findings), ""), "")


def describe_target(target: FleetTarget) -> Detail:
    """What the fleet's dataset says of a target. Its text is escaped already."""
    detail = Detail(target_reference(target), target.path)
    words = {
        "outcome": target.outcome,
        "why": target.why,
        "verdict": target.headline,
        "": target.sentence,
        "release": target.release,
        "generation": target.generation,
        "build id": target.build_id,
        "host": target.host,
        "captured": target.taken_at and f"{target.taken_at} UTC",
        "kernel time": target.kernel_time and f"{target.kernel_time} UTC",
        "tasks": target.tasks,
        "borrowers": target.borrowers or None,
        "not readable": target.errors or None,
    }
    tones = {
        "outcome": "" if target.outcome == Outcome.OK else "warn",
        "verdict": _TONES.get(target.verdict or "", ""),
    }
    detail.facts += [
        Fact(name, str(value), tone=tones.get(name, "")) for name, value in words.items() if value is not None
    ]
    detail.facts += [
        Fact("findings", f"{number} {severity}", tone=SEVERITY_TONES.get(severity, ""))
        for severity, number in target.findings.items()
    ]
    detail.facts += [Fact("rule", rule) for rule in target.rules]
    detail.add_text("key", target.key)
    return detail


def fleet_line(targets: Sequence[FleetTarget], name: str) -> str:
    """For the header: how many there are, and what came of them. :param name: escaped"""
    verdicts = Counter(target.verdict for target in targets if target.verdict is not None)
    said = [f"{verdicts[kind.value]} {kind.value}" for kind in VerdictKind if verdicts[kind.value]]
    unread = sum(not target.is_read for target in targets)
    said += [f"{unread} not read"] if unread else []
    return "   ".join([count(len(targets), "target"), ", ".join(said), name])
