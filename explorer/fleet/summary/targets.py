"""The targets of a fleet: verdicts by release, those that could not be read, those that differ from their like."""

from __future__ import annotations

from typing import Any

from explorer.fleet.needed import need
from explorer.fleet.outcomes import OPENED, Outcome

from .arrow import SEVERITIES, counts_of, first_of
from .shapes import OfRelease, Unlike, Unread

__all__ = ("OF_TARGETS", "find_unlike", "opened", "releases_of", "unread_of")

#: The columns of ``targets`` that are asked for.
OF_TARGETS = ("key", "path", "outcome", "why", "release", "generation", "host", "verdict")
#: Fewer of one release have no way that most of them are.
_LEAST_ALIKE = 3
_MOST_UNLIKE, _MOST_REASONS = 20, 20
#: What is only to know differs by the moment: a target is not unlike others for it.
_ONLY_TO_KNOW = SEVERITIES[-1]


def opened(targets: Any) -> Any:
    """Those that were read, if not whole. :param targets: the columns :data:`OF_TARGETS`"""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    read = pa.array([outcome.value for outcome in OPENED], pa.string())
    return targets.filter(pc.is_in(targets["outcome"], value_set=read))


def releases_of(targets: Any, pairs: Any) -> list[OfRelease]:
    """The releases, that with most targets first.

    :param targets: those that were read
    :param pairs: ``rule`` and ``release``, a row for each rule and target on which it found something
    """
    rules: dict[str, set[str]] = {}
    for row in counts_of(pairs, ("rule", "release")):
        rules.setdefault(row["rule"], set()).add(_text(row["release"]))
    verdicts: dict[tuple[str, str], dict[str, int]] = {}
    for row in counts_of(targets, ("release", "generation", "verdict")):
        found = verdicts.setdefault((_text(row["release"]), _text(row["generation"])), {})
        found[_text(row["verdict"])] = row["count"]
    several = len({release for release, _ in verdicts}) > 1
    only = {next(iter(of)): set[str]() for of in rules.values() if len(of) == 1}
    for rule, of in rules.items():
        if len(of) == 1:
            only[next(iter(of))].add(rule)
    releases = [
        OfRelease(
            release,
            generation,
            sum(counts.values()),
            counts,
            tuple(sorted(only.get(release, ()))) if several else (),
        )
        for (release, generation), counts in verdicts.items()
    ]
    return sorted(releases, key=lambda each: (-each.targets, each.release))


def _text(value: str | None) -> str:
    return "?" if value is None else value


def _without_path(why: str | None, path: str | None) -> str | None:
    """What is wrong, without the target's name: the same is wrong with many."""
    return why if why is None or path is None else why.removeprefix(f"{path}: ")


def unread_of(targets: Any) -> tuple[list[Unread], int]:
    """Why targets were not read, or not whole: most targets first; and how many reasons are left out."""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    bad = targets.filter(pc.not_equal(targets["outcome"], Outcome.OK.value))
    whys = map(_without_path, bad["why"].to_pylist(), bad["path"].to_pylist())
    bad = bad.set_column(bad.schema.get_field_index("why"), "why", pa.array(list(whys), pa.string()))
    reasons = counts_of(bad, ("outcome", "why"))
    reasons.sort(
        key=lambda row: row["outcome"] == Outcome.PARTIAL.value
    )  # stable: not read at all comes first
    found = []
    for row in reasons[:_MOST_REASONS]:
        same = pc.is_null(bad["why"]) if row["why"] is None else pc.equal(bad["why"], row["why"])
        of_it = bad.filter(pc.and_kleene(pc.equal(bad["outcome"], row["outcome"]), same))
        found.append(Unread(row["outcome"], _text(row["why"]), first_of(of_it)))
    return found, max(0, len(reasons) - _MOST_REASONS)


def find_unlike(targets: Any, pairs: Any) -> tuple[list[Unlike], int]:
    """Targets whose verdict, or whose rules with a finding that is not only to know, are not those of most targets of
    their release; the rarest first, and how many are left out.

    Of a release of which fewer than three targets were read, or not two thirds are alike, nothing is usual.

    :param targets: those that were read
    :param pairs: ``key``, ``rule`` and ``severity``, a row for each rule and target on which it found something
    """
    signed = _signed(targets, pairs)
    usual: dict[str | None, tuple[str | None, str | None]] = {}
    rare: dict[tuple[str | None, str | None, str | None], int] = {}
    totals = {row["release"]: row["count"] for row in counts_of(signed, ("release",))}
    for row in counts_of(signed, ("release", "verdict", "rules")):
        total = totals[row["release"]]
        if total >= _LEAST_ALIKE and 3 * row["count"] >= 2 * total:
            usual[row["release"]] = (row["verdict"], row["rules"])
        else:
            rare[row["release"], row["verdict"], row["rules"]] = row["count"]
    groups = sorted(
        (count, _text(release), _text(verdict), rules or "", release, verdict, rules)
        for (release, verdict, rules), count in rare.items()
        if release in usual
    )
    found: list[Unlike] = []
    for _, _, _, _, release, verdict, rules in groups:
        if len(found) >= _MOST_UNLIKE:
            break
        found += _of_group(signed, release, verdict, rules, usual[release])
    return found[:_MOST_UNLIKE], max(0, sum(group[0] for group in groups) - _MOST_UNLIKE)


def _signed(targets: Any, pairs: Any) -> Any:
    """The targets with ``rules``: the names of those that found something that is not only to know, in a line."""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    told = pairs.filter(pc.not_equal(pairs["severity"], _ONLY_TO_KNOW)).select(["key", "rule"])
    by_key = told.sort_by([("key", "ascending"), ("rule", "ascending")])
    lists = by_key.group_by("key", use_threads=False).aggregate([("rule", "list")])
    lines = pc.binary_join(lists["rule_list"].combine_chunks(), " ")
    places = pc.index_in(targets["key"], value_set=lists["key"].combine_chunks())
    rules = pc.coalesce(pa.chunked_array([lines], pa.string()).take(places), pa.scalar(""))
    return targets.append_column("rules", rules)


def _of_group(
    signed: Any,
    release: str | None,
    verdict: str | None,
    rules: str | None,
    usual: tuple[str | None, str | None],
) -> list[Unlike]:
    pc = need("pyarrow.compute")
    mask = pc.equal(signed["rules"], rules or "")
    for column, value in (("release", release), ("verdict", verdict)):
        same = pc.is_null(signed[column]) if value is None else pc.equal(signed[column], value)
        mask = pc.and_kleene(mask, same)
    alike = signed.filter(pc.fill_null(mask, False)).sort_by([("path", "ascending")]).slice(0, _MOST_UNLIKE)
    mine, others = set((rules or "").split()), set((usual[1] or "").split())
    return [
        Unlike(
            row["key"],
            _text(row["path"]),
            _text(release),
            _text(verdict),
            _text(usual[0]),
            tuple(sorted(mine - others)),
            tuple(sorted(others - mine)),
        )
        for row in alike.to_pylist()
    ]
