"""Findings that are known and put up with: by a baseline, or by rule and query. They stay findings, and do not count.

What a finding is about has to be the same thing on the next boot, and for the next version of this program: it is what
its evidence is called, and the paths that its title names. Of these pids, addresses, mount ids, inodes of namespaces
and the numbers of kworkers differ from boot to boot, and are left out; a number that is part of a name (``disk2``,
``/srv/1``) stays.

Two things may be called the same, and then only one of them may have been accepted. So a baseline also counts what all
findings of one rule and subject are about, tasks by what is theirs on every boot: name, kind, whose child they are, and
their control group. Of more than were accepted nothing says which is the new one: all of them count.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from explorer.model import (
    AcceptedFinding,
    Baseline,
    Finding,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskKind,
    kernel_bytes,
    lasting_cgroup,
)
from explorer.plugin import rule_prefix

from .audit import AuditReport, select_findings

__all__ = (
    "Acceptance",
    "FoundObjects",
    "Ignored",
    "accept_findings",
    "baseline_of",
    "entry_of",
    "finding_fingerprint",
    "finding_subject",
    "with_entry",
)

#: What differs from boot to boot: addresses, the numbers of a kworker's name, and numbers that stand alone.
_OF_ONE_BOOT = re.compile(
    r"(?P<worker>\bkworker/)[^\s()]+|\b0x[0-9a-f]+\b|(?:#|(?<![\w./-]))\d+(?:\.\d+)?(?![\w/-]|\.\w)"
)


_PUNCTUATION = ",;:.)("


def finding_subject(finding: Finding) -> str:
    """What a finding is about, in words that are the same on the next boot; not escaped."""
    about = sorted({f"{each.kind} {_lasting(each.label)}" for each in finding.evidence})
    paths = dict.fromkeys(_lasting(word.strip(_PUNCTUATION)) for word in finding.title.split() if "/" in word)
    return "; ".join([*about, *(path for path in paths if not any(path in known for known in about))])


def finding_fingerprint(finding: Finding) -> str:
    """The same finding of the same system has the same one, though addresses, pids and durations differ."""
    text = f"{finding.rule}\0{finding_subject(finding)}"
    return hashlib.sha256(kernel_bytes(text)).hexdigest()[:32]


def _lasting(text: str) -> str:
    return _OF_ONE_BOOT.sub(lambda found: f"{found['worker'] or ''}#", text)


class FoundObjects:
    """How many objects the findings of each rule and subject are about, by what they are on every boot.

    :param findings: all of an audit: of some of them there are fewer
    """

    def __init__(self, findings: Iterable[Finding], snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        found: dict[tuple[str, str], dict[str, set[int | None]]] = defaultdict(lambda: defaultdict(set))
        for finding in findings:
            of_key = found[_key(finding)]
            for each in finding.evidence:
                of_key[self._name(each)].add(each.address)
        self._counts = {
            key: {name: len(objects) for name, objects in of_key.items()} for key, of_key in found.items()
        }

    def counts(self, finding: Finding) -> dict[str, int]:
        """By name, over all findings of its rule and subject."""
        return self._counts[_key(finding)]

    def surplus(self, entry: AcceptedFinding) -> str | None:
        """Of what there is more than an entry accepts, in words that are not escaped; ``None``: of nothing."""
        if entry.objects is None:
            return None
        for name, number in sorted(self._counts.get((entry.rule, entry.subject), {}).items()):
            accepted = entry.objects.get(name, 0)
            if number > accepted:
                return f"{number} of {name}, where {accepted} {'was' if accepted == 1 else 'were'} accepted"
        return None

    def _name(self, reference: Reference) -> str:
        task = self._task(reference)
        return f"{reference.kind} {_lasting(reference.label)}{'' if task is None else self._words(task)}"

    def _task(self, reference: Reference) -> Task | None:
        if reference.kind != "task" or reference.address is None:
            return None
        return self._snapshot.task_by_address.get(reference.address)

    def _words(self, task: Task) -> str:
        """``, a user task, child of sshd, in /system.slice/ssh.service``; what is not known is a ``?``."""
        parent = "?" if task.ppid is None else "nobody"
        if task.ppid:
            leader = self._leaders.get(task.ppid)
            parent = "?" if leader is None or leader.comm is None else _lasting(leader.comm)
        kind = "?" if task.kind is None else task.kind.value
        if task.kind is TaskKind.KTHREAD and task.kthread is not None and task.kthread.threadfn is not None:
            kind += f" {task.kthread.threadfn}"
        group = "?" if task.cgroup is None else lasting_cgroup(task.cgroup)
        return f", {kind}, child of {parent}, in {group}"

    @cached_property
    def _leaders(self) -> dict[int, Task]:
        return {task.pid: task for task in self._snapshot.tasks if task.pid == task.tgid}


def entry_of(finding: Finding, found: FoundObjects) -> AcceptedFinding:
    """What a baseline says of a finding."""
    return AcceptedFinding(
        rule=finding.rule,
        subject=finding_subject(finding),
        severity=finding.severity,
        title=finding.title,
        objects=found.counts(finding),
    )


def _key(finding: Finding) -> tuple[str, str]:
    return finding.rule, finding_subject(finding)


def baseline_of(entries: Iterable[AcceptedFinding]) -> Baseline:
    """The file of these, each once: of two about the same thing what accepts both."""
    kept: dict[tuple[str, str], AcceptedFinding] = {}
    for entry in entries:
        known = kept.get((entry.rule, entry.subject))
        kept[entry.rule, entry.subject] = entry if known is None else _both(known, entry)
    return Baseline(accepted=[kept[key] for key in sorted(kept)])


def _both(one: AcceptedFinding, other: AcceptedFinding) -> AcceptedFinding:
    """Of what was not counted the counts are those of the other: what is written now has been counted now."""
    worse = other if other.severity.rank < one.severity.rank else one
    a, b = one.objects, other.objects
    if a is None or b is None:
        return worse.model_copy(update={"objects": b if a is None else a})
    most = {name: max(a.get(name, 0), b.get(name, 0)) for name in sorted({*a, *b})}
    return worse.model_copy(update={"objects": most})


def with_entry(baseline: Baseline, finding: Finding, found: FoundObjects, *, accepted: bool) -> Baseline:
    """The baseline in which a finding is accepted, or is not any more: with all of its rule and subject."""
    others = [entry for entry in baseline.accepted if (entry.rule, entry.subject) != _key(finding)]
    return baseline_of([*others, entry_of(finding, found)] if accepted else others)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A rule that is not to count, of all tasks or of some."""

    rule: str
    words: str
    """As it was asked for."""
    matches: Callable[[Task], bool] | None = None
    """Of which tasks; ``None``: of all, and where it is about none."""


@dataclass(frozen=True)
class Acceptance:
    """All that says which findings of an audit do not count."""

    found: FoundObjects
    baseline: Baseline | None = None
    name: str = ""
    """What to call the baseline: its file."""
    ignored: Sequence[Ignored] = ()

    @cached_property
    def _entries(self) -> dict[tuple[str, str], AcceptedFinding]:
        entries = () if self.baseline is None else self.baseline.accepted
        return {(entry.rule, entry.subject): entry for entry in entries}

    def by(self, finding: Finding) -> str | None:
        """What of the baseline accepts a finding; ``None``: nothing does, or not one so bad, or not so many."""
        entry = self._entries.get(_key(finding)) if self._entries else None
        if entry is None or finding.severity.rank < entry.severity.rank:
            return None
        return self.name if self.found.surplus(entry) is None else None


def accept_findings(
    report: AuditReport, snapshot: Snapshot, acceptance: Acceptance, only: Sequence[str] = ()
) -> None:
    """Say of each finding whether it is accepted, and what is accepted and was not found.

    :param only: the rules that were asked for, as for :func:`~explorer.analysis.run_audit`; empty: all
    """
    found = report.findings
    ignored: dict[int, str] = {}
    for each in acceptance.ignored:
        of_rule = [finding for finding in found if finding.rule == each.rule]
        chosen = of_rule if each.matches is None else select_findings(of_rule, snapshot, each.matches)
        if not chosen:
            report.unmatched.append(f"{each.words} matches no finding")
        for finding in chosen:
            ignored.setdefault(id(finding), each.words)
    if acceptance.baseline is not None:
        report.unmatched += _unmatched(acceptance, report, snapshot, {rule.upper() for rule in only})
    report.findings = [
        finding.model_copy(update={"accepted": ignored.get(id(finding)) or acceptance.by(finding)})
        for finding in found
    ]


def _unmatched(
    acceptance: Acceptance, report: AuditReport, snapshot: Snapshot, only: set[str]
) -> Iterator[str]:
    """What the entries accept that is not there any more, is worse by now, or more. Rules that did not judge say
    nothing."""
    silent = {each.rule for each in report.not_judged}
    errors = [error for error in (*report.errors, *snapshot.errors) if error.is_of_plugin]
    failed = tuple(rule_prefix(error.where.removeprefix("plugin ")) for error in errors)
    worst: dict[tuple[str, str], Severity] = {}
    for finding in report.findings:
        known = worst.setdefault(_key(finding), finding.severity)
        if finding.severity.rank < known.rank:
            worst[_key(finding)] = finding.severity
    for entry in () if acceptance.baseline is None else acceptance.baseline.accepted:
        if entry.rule in silent or entry.rule.startswith(failed) or (only and entry.rule not in only):
            continue
        now = worst.get((entry.rule, entry.subject))
        if now is None:
            yield f"accepted, and not found any more: {entry.title} [{entry.rule}]"
        elif now.rank < entry.severity.rank:
            yield f"accepted as {entry.severity}, and {now} now: {entry.title} [{entry.rule}]"
        elif (surplus := acceptance.found.surplus(entry)) is not None:
            yield f"accepted, and not so many: {surplus}: {entry.title} [{entry.rule}]"
