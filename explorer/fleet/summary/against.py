"""What is new, gone and changed in a fleet since another one: the same machines a day later, or the build before.

A target is the same in both if its content is; else if its file's name is, and no two in either fleet have that; else
if its host is, and no two have that. Its findings are the same by their fingerprint, which outlives a boot.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from explorer.fleet.needed import need

from .arrow import SEVERITIES, counts_of, first_of, looked_up, rows_of, severity_rank
from .findings import by_severity
from .shapes import ChangedRule, Comparison, Difference

__all__ = ("OF_FINDINGS_AGAINST", "compare")

#: The columns of ``findings`` that are asked for.
OF_FINDINGS_AGAINST = ("key", "rule", "severity", "title", "fingerprint")
_MOST_CHANGED = 20
_COMPARED = ("release", "verdict", "outcome")


def compare(now: tuple[Any, Any, Any], before: tuple[Any, Any, Any], other: str) -> tuple[Comparison, Any]:
    """What changed, and a table of the findings that are new, as :data:`OF_FINDINGS_AGAINST`.

    :param now: targets (with the columns ``OF_TARGETS``), findings and pairs of this fleet
    :param before: the same of the other
    """
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    same = _matched(rows_of(now[0].select(_NAMED)), rows_of(before[0].select(_NAMED)))
    ours, theirs = pa.array(list(same), pa.string()), pa.array(list(same.values()), pa.string())
    # The findings of before under the keys of now.
    matches = pa.table({"key": theirs, "now": ours})
    of_before = before[1].filter(pc.is_in(before[1]["key"], value_set=theirs))
    keys = looked_up(of_before["key"], matches, ("now",))[0]
    of_before = of_before.set_column(0, "key", keys)
    new, gone = _without(now[1], of_before), _without(of_before, now[1])
    was_there = pc.is_in(new["key"], value_set=ours)
    changed = _changed(now[0], before[0], same, new.filter(was_there), gone)
    return Comparison(
        other,
        len(same),
        first_of(now[0].filter(pc.invert(pc.is_in(now[0]["key"], value_set=ours)))),
        first_of(before[0].filter(pc.invert(pc.is_in(before[0]["key"], value_set=theirs)))),
        tuple(_rules(now[2], before[2])),
        tuple(changed[:_MOST_CHANGED]),
        max(0, len(changed) - _MOST_CHANGED),
        pc.sum(pc.cast(was_there, pa.int64())).as_py() or 0,
        gone.num_rows,
        by_severity(new),
    ), new


_NAMED = ["key", "path", "host"]


def _matched(now: list[dict[str, Any]], before: list[dict[str, Any]]) -> dict[str, str]:
    """The key of each target of now that was there before, and its key then."""
    known = {row["key"] for row in before}
    same = {row["key"]: row["key"] for row in now if row["key"] in known}
    for name_of in (_file_name, lambda row: row["host"]):
        taken = set(same.values())
        mine = _by_name([row for row in now if row["key"] not in same], name_of)
        theirs = _by_name([row for row in before if row["key"] not in taken], name_of)
        same |= {key: theirs[name] for name, key in mine.items() if name in theirs}
    return same


def _file_name(row: dict[str, Any]) -> str | None:
    path: str | None = row["path"]
    return None if path is None else path.rpartition("/")[2]


def _by_name(rows: list[dict[str, Any]], name_of: Any) -> dict[str, str]:
    """The keys by a name that only one has."""
    names = [name_of(row) for row in rows]
    once = Counter(names)
    return {
        name: row["key"]
        for name, row in zip(names, rows, strict=True)
        if name is not None and once[name] == 1
    }


def _without(findings: Any, others: Any) -> Any:
    """The findings that others are not the same as, on the same target; several alike are one."""
    known = others.select(["key", "fingerprint"])
    return findings.join(known, ["key", "fingerprint"], join_type="left anti").sort_by(
        [("key", "ascending"), ("rule", "ascending"), ("title", "ascending")]
    )


def _rules(now: Any, before: Any) -> list[ChangedRule]:
    """Rules that found something on more or on fewer targets than before."""
    counts = [{row["rule"]: row["count"] for row in counts_of(pairs, ("rule",))} for pairs in (now, before)]
    worst: dict[str, str] = {}
    for pairs in (now, before):
        for row in counts_of(pairs, ("rule", "severity")):
            severity = row["severity"] or SEVERITIES[-1]
            worst[row["rule"]] = min(worst.get(row["rule"], severity), severity, key=severity_rank)
    changed = [
        ChangedRule(rule, severity, counts[1].get(rule, 0), counts[0].get(rule, 0))
        for rule, severity in worst.items()
        if counts[0].get(rule, 0) != counts[1].get(rule, 0)
    ]
    return sorted(changed, key=lambda each: (severity_rank(each.severity), each.rule))


def _changed(now: Any, before: Any, same: dict[str, str], new: Any, gone: Any) -> list[Difference]:
    """The targets that changed: those with another verdict first, then by the worst finding that came."""
    came, went = _rules_by_key(new), _rules_by_key(gone)
    old = {row["key"]: row for row in rows_of(before)}
    found: list[tuple[bool, int, Difference]] = []
    for row in rows_of(now):
        key = row["key"]
        if key not in same:
            continue
        was = old[same[key]]
        new_here, gone_here = came.get(key, []), went.get(key, [])
        if new_here or gone_here or any(row[name] != was[name] for name in _COMPARED):
            states: dict[str, Any] = {name: row[name] or "?" for name in _COMPARED}
            states |= {f"{name}_before": was[name] or "?" for name in _COMPARED}
            rules: dict[str, Any] = {
                "came": tuple(rule for _, rule in new_here),
                "went": tuple(rule for _, rule in gone_here),
            }
            stays = row["verdict"] == was["verdict"] and row["outcome"] == was["outcome"]
            worst = min((severity_rank(severity) for severity, _ in new_here), default=len(SEVERITIES))
            found.append((stays, worst, Difference(key=key, target=row["path"] or "?", **states, **rules)))
    found.sort(key=lambda each: (each[0], each[1], each[2].target))
    return [difference for _, _, difference in found]


def _rules_by_key(findings: Any) -> dict[str, list[tuple[str, str]]]:
    """Severity and rule of the findings of each target, worst first, each once."""
    by_key: dict[str, set[tuple[str, str]]] = {}
    for row in counts_of(findings, ("key", "severity", "rule")):
        by_key.setdefault(row["key"], set()).add((row["severity"] or "?", row["rule"]))
    return {
        key: sorted(rules, key=lambda each: (severity_rank(each[0]), each[1]))
        for key, rules in by_key.items()
    }
