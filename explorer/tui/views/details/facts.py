"""What a detail pane shows: named facts about one object, some of which lead to another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from explorer.analysis import is_inside
from explorer.model import (
    FsStruct,
    PathRef,
    Placement,
    Reference,
    Snapshot,
    Task,
    display_width,
    escape_text,
    global_fs,
    hex_address,
    mount_reference,
    task_name,
    task_reference,
)
from explorer.naming import fs_label, path_label
from explorer.output import fit_middle
from explorer.tui.views.table import Cell, ViewColumn

from .expressions import drgn_object

__all__ = (
    "FOUND_WORDS",
    "Detail",
    "DetailTable",
    "Fact",
    "detail_text",
    "group_reference",
    "place_words",
    "wrap_text",
)

#: An object with more holders than this is better asked for with a filter.
MAX_LINKS = 200
_NAME_WIDTH = 14
#: Of a title: one of many pages does not push the facts away.
_HEADING_LINES = 5
#: Of a setting's path, looked up from the kernel's root: what ``KernelSetting.found`` says, in words.
FOUND_WORDS = {
    "yes": "exists",
    "no": "does not exist",
    "not cached": "not in the dcache, may exist",
    "not a path": "not a path",
    "unknown": "not known whether it exists",
}
#: What an object of a kind stands in: of its paths the root comes first.
_ROAD = {"task": "fs_struct", "fs_struct": "mount", "mount": "mount_namespace"}
#: Names of nested facts are indented.
_WIDEST_NAME = 24


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a detail: a kernel name and a value."""

    name: str
    value: str
    """Escaped."""
    target: Reference | None = None
    """Where it leads."""
    tone: str = ""


@dataclass(slots=True)
class Detail:
    """All that is known of one object."""

    reference: Reference
    title: str
    """Escaped, one line."""
    expression: str | None = None
    """For drgn."""
    facts: list[Fact] = field(default_factory=list)
    found: bool = True
    """The snapshot holds it."""
    _dentries: list[Fact] = field(default_factory=list)

    def further(self) -> Reference | None:
        """A step on the road from a task to where it lives: to its ``fs_struct``, its root's mount, the namespace."""
        kind = _ROAD.get(self.reference.kind)
        return next((fact.target for fact in self.facts if fact.target and fact.target.kind == kind), None)

    def add(self, name: str, value: Any, target: Reference | None = None, tone: str = "") -> None:
        """A fact; ``None`` is left out. Strings are kernel text and are escaped here; so is the name."""
        if value is not None and value != "":
            self.facts.append(Fact(escape_text(name), escape_text(str(value)), target, tone))

    def add_text(self, name: str, text: str) -> None:
        """A fact whose text is escaped already; an empty one is left out."""
        if text:
            self.facts.append(Fact(name, text))

    def add_address(self, name: str, address: int | None, target: Reference | None = None) -> None:
        """An address, and what it is called."""
        if address is not None:
            label = "" if target is None else f"  {escape_text(target.label)}"
            self.facts.append(Fact(name, f"{hex_address(address)}{label}", target))

    def add_path(
        self,
        name: str,
        path: PathRef | None,
        snapshot: Snapshot,
        root: PathRef | None = None,
        *,
        is_root: bool = False,
        of_task: bool = False,
    ) -> None:
        """A ``struct path``: identity and text, and its mount. Its dentry comes with :meth:`add_dentries`.

        :param root: of the same ``fs_struct``, for a path that is not a root itself
        :param of_task: it is in the task's ``fs_struct``, and is named by the way there
        """
        if path is None:
            return
        mount = snapshot.mount_by_address.get(path.mount)
        target = None if mount is None else mount_reference(mount)
        words = path.placement if is_root else place_words(path, snapshot, root)
        where = f"  ({words})" if words else ""
        way = "fs->" if of_task else ""
        self.facts.append(Fact(f"{way}{name}", path_label(path, snapshot) + where, target))
        self._dentries.append(Fact(f"{name}.dentry", drgn_object("struct dentry", path.dentry)))

    def add_dentries(self) -> None:
        """The expressions of the dentries of all paths so far."""
        self.facts += self._dentries
        self._dentries.clear()

    def add_tasks(self, name: str, tasks: Sequence[Task]) -> None:
        """Tasks to go to; of very many only the first, and how many there are."""
        for task in tasks[:MAX_LINKS]:
            self.add(name, f"{task_name(task)}  {task.kind_word}", task_reference(task))
        if len(tasks) > MAX_LINKS:
            self.add(name, f"and {len(tasks) - MAX_LINKS} more", tone="muted")

    def add_fs(self, name: str, address: int | None, snapshot: Snapshot) -> None:
        """A pointer to an ``fs_struct``."""
        if address is None:
            return
        fs = snapshot.fs_by_address.get(address)
        target = None if fs is None else group_reference(fs, snapshot)
        named = global_fs(snapshot.kernel).get(address, "")
        self.facts.append(Fact(name, f"{hex_address(address)}  {named}".rstrip(), target))


def group_reference(fs: FsStruct, snapshot: Snapshot) -> Reference:
    """An ``fs_struct`` as a place to go to."""
    return Reference(kind="fs_struct", address=fs.address, label=fs_label(fs.address, snapshot))


def place_words(path: PathRef, snapshot: Snapshot, root: PathRef | None = None) -> str:
    """Where a path that is not itself a root is: its placement, and how it lies to ``root``. Empty: it is not known.

    ``chroot`` is a word for roots. Any other path of that placement is just somewhere in a namespace: nobody need have
    called chroot() for it.
    """
    if path.placement is None:
        return ""
    placement = path.placement.value
    inside = None if root is None else is_inside(path, root, snapshot)
    if path.placement is not Placement.CHROOT:
        return f"{placement}, outside the root" if inside is False else placement
    if root is not None and (path.mount, path.dentry) == (root.mount, root.dentry):
        return "the root"
    return {True: "inside the root", False: "outside the root", None: "not a root"}[inside]


def detail_text(detail: Detail) -> str:
    """A detail as lines of escaped text, for copying."""
    lines = [detail.title]
    if detail.expression is not None:
        lines.append(f"{'drgn':<{_NAME_WIDTH}}  {detail.expression}")
    lines += [f"{fact.name:<{_NAME_WIDTH}}  {fact.value}" for fact in detail.facts]
    return "\n".join(lines)


def wrap_text(text: str, width: int) -> list[str]:
    """Escaped text in lines of ``width`` terminal columns: nothing is left out, not even of 4096-byte paths.

    A line ends between words; inside one only where it alone is longer than a line, and of a path before a slash.
    """
    width = max(1, width)
    if display_width(text) <= width:
        return [text]
    lines, start, used = [], 0, 0
    for position, char in enumerate(text):
        columns = display_width(char)
        if used + columns > width and position > start:
            end = _line_end(text, start, position)
            lines.append(text[start:end])
            start, used = end, display_width(text[end:position])
        used += columns
    lines.append(text[start:])
    return lines


def _line_end(text: str, start: int, limit: int) -> int:
    """Where a line that begins at ``start`` and has no room for ``text[limit]`` is to end."""
    if text[limit] == " ":
        return limit
    blank = text.rfind(" ", start, limit) + 1
    if blank > start and text[start:blank].strip():
        return blank
    slash = text.rfind("/", start, limit + 1)
    return slash if slash > (start + limit) // 2 else limit


#: A value of more lines is folded, to fewer: a path of 4 KB leaves room for what else there is.
_LONG, _FOLDED_TO = 8, 5


class DetailTable:
    """A :class:`~explorer.tui.views.table.TableSource` of one detail, wrapped to a width; long values are folded."""

    def __init__(
        self, detail: Detail | None, width: int, heading: str = "", unfolded: frozenset[str] = frozenset()
    ) -> None:
        """:param heading: what stands above the facts: the first line is not one of the table's, the others are
        :param unfolded: the names of facts of which all lines are shown"""
        self.detail = detail
        self.heading, *more = wrap_text(fit_middle(heading, _HEADING_LINES * max(1, width)), width)
        widest = max((display_width(fact.name) for fact in detail.facts), default=0) if detail else 0
        names = max(_NAME_WIDTH, min(widest, _WIDEST_NAME, width // 3))
        self.columns = (ViewColumn("name", "", names), ViewColumn("value", "", 10, 1))
        self._lines: list[tuple[Fact, str, bool]] = []
        self._folds: dict[int, Fact] = {}
        self._more = [line.lstrip(" ") for line in more]
        if detail is None:
            return
        self._lines = [(Fact("", heading), line, False) for line in self._more]
        facts = list(detail.facts)
        if detail.expression is not None:
            facts.insert(min(3, len(facts)), Fact("drgn", detail.expression))
        for fact in facts:
            room = width - names - 2 - (2 if fact.target else 0)
            lines = wrap_text(fact.value, room)
            if len(lines) > _LONG and fact.name not in unfolded:
                self._folds[len(self._lines) + _FOLDED_TO] = fact
                lines = [*lines[:_FOLDED_TO], f"… {len(lines) - _FOLDED_TO} more lines: enter shows them"]
            for number, line in enumerate(lines):
                # A blank between two words is seen by the line's end.
                self._lines.append((fact, line.lstrip(" ") if number else line, number == 0))

    @property
    def first_fact(self) -> int:
        """The line of it: what is above it is of the heading."""
        return len(self._more)

    def folded_at(self, index: int) -> Fact | None:
        """The fact of which a line stands for those that are not shown."""
        return self._folds.get(index)

    def __len__(self) -> int:
        return len(self._lines)

    def cells(self, index: int) -> list[Cell]:
        fact, line, first = self._lines[index]
        if index in self._folds:
            return [Cell(""), Cell(line, "muted")]
        if index < len(self._more):
            return [Cell(line, "group"), Cell("")]  # it runs on into the cell that is empty
        mark = "▸ " if fact.target is not None and first else "  " if fact.target is not None else ""
        return [Cell(fact.name if first else "", "muted"), Cell(mark + line, fact.tone, line)]

    def lines_with(self, text: str) -> list[int]:
        """The lines in which a text stands, in any case; of a fact that holds it over a line's end, the first."""
        wanted, found = text.casefold(), []
        for number, (fact, line, first) in enumerate(self._lines):
            own = f"{fact.name}\n{line}" if first else line
            if wanted in own.casefold() or (first and self._runs_over(number, wanted)):
                found.append(number)
        return found

    def _runs_over(self, number: int, wanted: str) -> bool:
        fact = self._lines[number][0]
        if wanted not in fact.value.casefold():
            return False
        lines = (line for other, line, _ in self._lines[number:] if other is fact)
        return not any(wanted in line.casefold() for line in lines)

    def fact_at(self, index: int) -> Fact | None:
        """The fact that a line is part of."""
        return self._lines[index][0] if 0 <= index < len(self._lines) else None
