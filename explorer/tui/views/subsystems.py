"""The plugins' reports: what each speaks for, what it expects, what was seen, and what is wrong with it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

from explorer.analysis import AuditReport
from explorer.analysis.rules import RULES
from explorer.model import Finding, Reference, Severity, Snapshot, Task, escape_text
from explorer.plugin import Expectation, Plugin, PluginListing, PluginSet, Speaks, rule_prefix
from explorer.tui.views.details import SEVERITY_TONES, Detail, Fact, RecordTable, describe

from .table import Cell, ViewColumn

__all__ = ("Subsystem", "describe_subsystem", "find_subsystems", "subsystems_table")

_STATE_ORDER = ("borrowing now", "fault", "active", "loaded", "built in", "not loaded", "not captured")
#: Findings in the detail of one.
_MOST_FINDINGS = 100
_STATE_TONES = {
    "borrowing now": "warn",
    "fault": "bad",
    "active": "good",
    "not loaded": "muted",
    "not captured": "muted",
}
#: What is added for one that speaks for tasks, and for one that speaks for none: that others run for it is not known.
_AT_REST, _IN_OTHERS = "no task that it speaks for is there now", "others do its work, it speaks for no task"
_STATE_WORDS = {
    "borrowing now": "a task looks paths up through userspace_init_fs for it",
    "fault": "its facts could not be read, or its audit failed: nothing is known",
    "active": "kernel threads or works of it are there",
    "loaded": "there",
    "built in": "part of this kernel",
    "not loaded": "not in this kernel now: nothing was looked at, which is not the same as fine",
    "not captured": "the snapshot says nothing about it",
}


@dataclass(slots=True)
class Subsystem:
    """One plugin, and what this snapshot says of its subsystem."""

    name: str
    listing: PluginListing
    plugin: Plugin | None
    """``None``: not installed here, or broken."""
    facts: Any
    state: str = "not captured"
    tasks: list[Task] = field(default_factory=list)
    """Those it speaks for."""
    visitors: list[Task] = field(default_factory=list)
    """Others that borrow for it, by its findings: user tasks that dump core."""
    findings: list[Finding] | None = None
    """``None``: not audited yet."""
    seen: Cell | None = None
    """Where its tasks are, once somebody has asked."""
    problem: str = ""
    """Why there is nothing to say; not escaped."""

    @property
    def is_here(self) -> bool:
        return self.state not in ("not loaded", "not captured")

    @property
    def query(self) -> str:
        """Selects its tasks in the task table; empty: there are none."""
        terms = [_term(speaks) for speaks in self.plugin.speaks_for] if self.plugin and self.tasks else []
        terms += [f"address:0x{task.address:x}" for task in self.visitors]
        if not terms:
            return ""
        if len(terms) == 1 and " " not in terms[0]:
            return terms[0]
        return " or ".join(f"({term})" for term in terms)


def find_subsystems(
    snapshot: Snapshot, audit: AuditReport | None, known: PluginSet | None = None
) -> list[Subsystem]:
    """Every plugin that is installed or in the snapshot: what happens first, what is not there last.

    :param audit: ``None`` while it is being made
    :param known: the plugins that there are; those that are installed, if it is not said
    """
    known = known or PluginSet()
    listings = {listing.name: listing for listing in known.listings}
    for name in snapshot.plugins:
        listings.setdefault(name, PluginListing(name, "the snapshot", None))
    plugins = {plugin.name: plugin for plugin in known.plugins}
    tasks = _spoken_for(snapshot, [plugins[name] for name in listings if name in plugins])
    found = []
    for name, listing in listings.items():
        facts = snapshot.plugins.get(name)
        subsystem = Subsystem(name, listing, plugins.get(name), facts)
        state = facts.get("state") if isinstance(facts, dict) else None
        if state in ("loaded", "failed"):
            subsystem.tasks = tasks.get(name, [])
        if audit is not None and state in ("loaded", "failed"):
            subsystem.findings = _findings_of(name, audit)
        subsystem.visitors = _visitors(subsystem, snapshot)
        _judge(subsystem, snapshot, audit)
        found.append(subsystem)
    return sorted(found, key=lambda each: (_STATE_ORDER.index(each.state), _worst(each), each.name))


def _worst(subsystem: Subsystem) -> int:
    return min((finding.severity.rank for finding in subsystem.findings or ()), default=len(Severity))


def _findings_of(name: str, audit: AuditReport) -> list[Finding]:
    """Findings of a plugin, by the beginning of their rule: that of our own rules may look the same."""
    prefix, ours = rule_prefix(name), {rule.id for rule in RULES}
    return [found for found in audit.findings if found.rule.startswith(prefix) and found.rule not in ours]


def _judge(subsystem: Subsystem, snapshot: Snapshot, audit: AuditReport | None) -> None:
    """What state it is in."""
    where = f"plugin {subsystem.name}"
    facts = subsystem.facts
    state = facts.get("state") if isinstance(facts, dict) else None
    errors = [error for error in snapshot.errors if error.where == where]
    errors += [error for error in audit.errors if error.where == where] if audit is not None else []
    if state not in ("loaded", "failed"):
        subsystem.state = "not loaded" if state == "not loaded" else "not captured"
    elif state == "failed" or errors:
        subsystem.state = "fault"
        subsystem.problem = "; ".join(f"{error.what}: {error.why}" for error in errors[:5])
    elif subsystem.visitors or any(task.borrowing for task in subsystem.tasks):
        subsystem.state = "borrowing now"
    elif subsystem.tasks:
        subsystem.state = "active"
    else:
        modules = {module.name for module in snapshot.modules}
        subsystem.state = "loaded" if modules.intersection(subsystem.listing.needs_modules) else "built in"


def _visitors(subsystem: Subsystem, snapshot: Snapshot) -> list[Task]:
    """Tasks that it does not speak for, but found borrowing, such as a user task that dumps core."""
    evidence = [reference for finding in subsystem.findings or () for reference in finding.evidence]
    found = {reference.address for reference in evidence if reference.kind == "task"}
    found -= {task.address for task in subsystem.tasks}
    if not found:
        return []
    return [task for task in snapshot.tasks if task.borrowing and task.address in found]


def _spoken_for(snapshot: Snapshot, plugins: Sequence[Plugin]) -> dict[str, list[Task]]:
    """Tasks by plugin. Tasks that look alike are asked about once: there may be very many.

    A name that no plugin has a pattern for tells nothing, and most tasks of a busy machine have such names.
    """
    is_spoken_of = _any_of([speaks.comm for plugin in plugins for speaks in plugin.speaks_for])
    alike: dict[Any, list[Task]] = defaultdict(list)
    for task in snapshot.tasks:
        kthread = task.kthread
        names = (task.comm, None if kthread is None else kthread.full_name)
        key = names if any(name is not None and is_spoken_of(name) for name in names) else None
        alike[
            key,
            None if kthread is None else (kthread.threadfn, kthread.current_func, kthread.workqueue),
        ].append(task)
    found: dict[str, list[Task]] = defaultdict(list)
    for plugin in plugins:
        for same in alike.values():
            if any(speaks.matches(same[0]) for speaks in plugin.speaks_for):
                found[plugin.name] += same
    return found


def _any_of(patterns: Iterable[str | None]) -> Callable[[str], bool]:
    """Whether one of the patterns may match a name, as :class:`Speaks` matches them."""
    known = [translate(pattern) for pattern in patterns if pattern is not None]
    one_of = re.compile("|".join(known)) if known else None
    return lambda name: one_of is not None and one_of.match(name.partition(" [")[0]) is not None


def _term(speaks: Speaks) -> str:
    """The same tasks in the query language. The module is behind a function's name there."""
    parts = []
    for name, pattern, function in (
        ("name", speaks.comm, False),
        ("threadfn", speaks.threadfn, True),
        ("func", speaks.work, True),
        ("workqueue", speaks.workqueue, False),
    ):
        if pattern is not None:
            text = f"({name}:{pattern} or {name}:'{pattern} *')" if function else f"{name}:{pattern}"
            parts.append(text)
    return " ".join(parts)


def _speaks_label(plugin: Plugin | None) -> str:
    if plugin is None:
        return "plugin not installed"
    names = {"comm": "", "threadfn": "", "work": "work ", "workqueue": "wq "}
    labels = []
    for speaks in plugin.speaks_for:
        values = [(prefix, getattr(speaks, name)) for name, prefix in names.items()]
        labels.append(" ".join(f"{prefix}{value}" for prefix, value in values if value is not None))
    return ", ".join(labels) or "no thread of its own"


def _expectation(subsystem: Subsystem, snapshot: Snapshot) -> Expectation | None:
    return None if subsystem.plugin is None else subsystem.plugin.expected.get(snapshot.kernel.generation)


def _expected_label(expectation: Expectation | None) -> str:
    if expectation is None:
        return "anything"
    owners = " or ".join(owner.value for owner in expectation.owners)
    roots = " or ".join(root.value for root in expectation.roots)
    return f"{owners} in {roots}" if roots else owners


def _is_expected(task: Task, expectation: Expectation | None, snapshot: Snapshot) -> bool:
    if expectation is None:
        return True
    fs = snapshot.fs_of(task)
    root = None if fs is None or fs.root is None else fs.root.placement
    return task.owner in expectation.owners and (not expectation.roots or root in expectation.roots)


def _seen(subsystem: Subsystem, snapshot: Snapshot) -> Cell:
    """Where its tasks are, against where they belong. Drawn at every move of the cursor, counted once."""
    if subsystem.seen is None:
        subsystem.seen = _look(subsystem, snapshot)
    return subsystem.seen


def _look(subsystem: Subsystem, snapshot: Snapshot) -> Cell:
    if not subsystem.is_here:
        return Cell("")
    if subsystem.state == "fault":
        return Cell("not known", "bad")
    if subsystem.visitors and not subsystem.tasks:
        return Cell(f"{len(subsystem.visitors)} borrowing", "warn")
    if not subsystem.tasks:
        return Cell("nobody now" if subsystem.plugin and subsystem.plugin.speaks_for else "-", "muted")
    owners = Counter(task.owner_word for task in subsystem.tasks)
    text = ", ".join(f"{count} {owner}" for owner, count in owners.most_common())
    expectation = _expectation(subsystem, snapshot)
    wrong = sum(not _is_expected(task, expectation, snapshot) for task in subsystem.tasks)
    return Cell(f"{wrong} MISPLACED: {text}", "bad") if wrong else Cell(text)


def _findings_cell(subsystem: Subsystem) -> Cell:
    if not subsystem.is_here:
        return Cell("")
    if subsystem.findings is None:
        return Cell("looking …", "muted")
    counts = Counter(finding.severity for finding in subsystem.findings)
    if not counts:
        return Cell("none" if subsystem.state != "fault" else "not known", "muted")
    worst = min(counts, key=lambda severity: severity.rank)
    text = " ".join(f"{counts[severity]} {severity.value}" for severity in Severity if counts[severity])
    return Cell(text, SEVERITY_TONES[worst.value])


def subsystems_table(
    snapshot: Snapshot, audit: AuditReport | None, known: PluginSet | None = None
) -> RecordTable[Subsystem]:
    """One row a plugin."""
    columns = (
        ViewColumn("name", "SUBSYSTEM", 13),
        ViewColumn("state", "STATE", 13),
        ViewColumn("tasks", "TASKS", 5, numeric=True),
        ViewColumn("seen", "SEEN IN", 16, 1),
        ViewColumn("expected", "BELONGS IN", 18, 1, rank=2),
        ViewColumn("findings", "FINDINGS", 17),
        ViewColumn("speaks", "SPEAKS FOR", 20, 2, rank=3),
    )

    def cells(subsystem: Subsystem) -> list[Cell]:
        here = subsystem.is_here
        expectation = _expectation(subsystem, snapshot)
        return [
            Cell(escape_text(subsystem.name)),
            Cell(subsystem.state, _STATE_TONES.get(subsystem.state, "")),
            Cell(str(len(subsystem.tasks) + len(subsystem.visitors)) if here else ""),
            _seen(subsystem, snapshot),
            Cell(_expected_label(expectation) if here and expectation else "", "muted"),
            _findings_cell(subsystem),
            Cell(escape_text(_speaks_label(subsystem.plugin)), "muted"),
        ]

    return RecordTable(columns, find_subsystems(snapshot, audit, known), cells, _reference)


def _reference(subsystem: Subsystem) -> Reference:
    return Reference(kind="plugin", address=None, label=subsystem.name)


def _state_words(subsystem: Subsystem) -> str:
    words = _STATE_WORDS[subsystem.state]
    if subsystem.state not in ("loaded", "built in"):
        return words
    has_own = subsystem.plugin is not None and bool(subsystem.plugin.speaks_for)
    return words if subsystem.plugin is None else f"{words}; {_AT_REST if has_own else _IN_OTHERS}"


def describe_subsystem(subsystem: Subsystem, snapshot: Snapshot) -> Detail:
    """What the row says in full, the tasks and findings to go to, then the facts."""
    title = subsystem.listing.title or subsystem.name
    named = title if title.startswith(subsystem.name) else f"{subsystem.name}: {title}"
    detail = Detail(_reference(subsystem), escape_text(named))
    tone = _STATE_TONES.get(subsystem.state, "")
    detail.add("state", f"{subsystem.state}: {_state_words(subsystem)}", tone=tone)
    detail.add("why", subsystem.problem, tone="bad")
    detail.add("speaks for", _speaks_label(subsystem.plugin))
    needs = [f"module {name}" for name in subsystem.listing.needs_modules]
    detail.add("needs", " and ".join(filter(None, (" or ".join(needs), *subsystem.listing.needs_symbols))))
    if not subsystem.is_here:
        return detail
    if subsystem.plugin is not None and subsystem.plugin.speaks_for:
        detail.add("belongs in", _expected_label(_expectation(subsystem, snapshot)))
        seen = _seen(subsystem, snapshot)
        detail.add("seen in", seen.text, tone=seen.tone)
    count = len(subsystem.findings or ())
    cell = _findings_cell(subsystem)
    detail.add("findings", cell.text + ("   N: the first of them among all" if count else ""), tone=cell.tone)
    for finding in (subsystem.findings or ())[:_MOST_FINDINGS]:
        first = finding.evidence[0] if finding.evidence else None
        text = f"{finding.severity.value}  {finding.title}"
        detail.add("", text, first, SEVERITY_TONES[finding.severity.value])
    if count > _MOST_FINDINGS:
        detail.add("", f"and {count - _MOST_FINDINGS} more", tone="muted")
    tasks = [*subsystem.visitors, *subsystem.tasks]
    if tasks:
        detail.add("tasks", f"{len(tasks)}   a: them in the task table")
        detail.add_tasks("", tasks)
    found = describe(detail.reference, snapshot).facts
    detail.facts += [Fact("", "", tone="muted"), *found] if found else []
    return detail
