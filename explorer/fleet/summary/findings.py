"""What the rules found in a fleet: how often, how bad, on how many targets, and on which."""

from __future__ import annotations

from typing import Any

from explorer.analysis.rules import find_rule
from explorer.fleet.needed import need

from .arrow import SEVERITIES, counts_of, first_of, looked_up, severity_rank
from .shapes import RuleFound

__all__ = ("OF_FINDINGS", "by_severity", "pairs_of", "rules_found")

#: The columns of ``findings`` that are asked for.
OF_FINDINGS = ("key", "rule", "severity", "title")


def by_severity(findings: Any) -> dict[str, int]:
    """Severity -> findings, worst first; severities without one are left out."""
    counted = {row["severity"]: row["count"] for row in counts_of(findings, ("severity",))}
    return {severity: counted[severity] for severity in sorted(counted, key=severity_rank)}


def pairs_of(findings: Any, targets: Any) -> Any:
    """A row for each rule and target on which it found something: ``key``, ``rule``, ``severity`` (of the worst),
    ``path``, ``release`` and ``findings`` (how many)."""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    ranks = pc.index_in(findings["severity"], value_set=pa.array(SEVERITIES, pa.string()))
    ranked = findings.select(["key", "rule"]).append_column("rank", ranks)
    grouped = ranked.group_by(["key", "rule"]).aggregate([("rank", "min"), ([], "count_all")])
    paths, releases = looked_up(grouped["key"], targets, ("path", "release"))
    names = pa.array(SEVERITIES, pa.string())
    return pa.table(
        {
            "key": grouped["key"],
            "rule": grouped["rule"],
            "severity": pa.chunked_array([names], pa.string()).take(grouped["rank_min"]),
            "path": paths,
            "release": releases,
            "findings": grouped["count_all"],
        }
    )


def rules_found(findings: Any, pairs: Any) -> list[RuleFound]:
    """Every rule that found something: worst first, then that on most targets."""
    pc = need("pyarrow.compute")
    found = []
    for row in counts_of(pairs, ("rule",)):
        of_rule = pairs.filter(pc.equal(pairs["rule"], row["rule"]))
        severities = pc.unique(of_rule["severity"]).to_pylist()
        worst = min((each for each in severities if each is not None), key=severity_rank, default="?")
        found.append(
            RuleFound(
                row["rule"],
                worst,
                _title(row["rule"], findings),
                pc.sum(of_rule["findings"]).as_py(),
                first_of(of_rule),
                len(pc.unique(of_rule["release"])),
            )
        )
    return sorted(found, key=lambda each: (severity_rank(each.severity), -each.targets.count, each.rule))


def _title(rule: str, findings: Any) -> str:
    """What a rule is about; of a plugin's rule, which has no such line, what one of its findings says."""
    try:
        return find_rule(rule).title
    except KeyError:
        pc = need("pyarrow.compute")
        place = pc.index(findings["rule"], rule).as_py()
        return f"such as: {findings['title'][place].as_py()}"
