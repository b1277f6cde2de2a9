"""The screens that a key leads to, each declared once: its mode, its key, and whose home it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from textual.binding import Binding

from explorer.tui.keys import hidden, shown

from .compare import CompareScreen
from .events import EventsScreen
from .findings import FindingsScreen
from .fleet import FleetScreen
from .lookups import LookupsScreen
from .namespaces import MountsScreen, NamespacesScreen
from .overview import OverviewScreen
from .subsystems import SubsystemsScreen
from .tables import FsStructsScreen
from .tasks import TasksScreen
from .timeline import TimelineScreen

__all__ = ("BROWSED", "Mode")


@dataclass(frozen=True, slots=True)
class Mode:
    """A mode of the app: one screen, which stays as it was left."""

    name: str
    screen: type[Any]
    key: Binding | None = None
    """``None``: something else leads there."""
    home_of: tuple[str, ...] = ()
    """The kinds of objects that are looked for there."""


def _key(key: str, mode: str, label: str, sentence: str) -> Binding:
    return shown(key, f"browse({mode!r})", f"go.{mode}", label, sentence)


BROWSED = (
    Mode("overview", OverviewScreen, _key("o", "overview", "Overview", "The verdict and the worlds")),
    Mode("tasks", TasksScreen, _key("t", "tasks", "Tasks", "Every task, by fs_struct"), ("task",)),
    Mode(
        "fs_structs",
        FsStructsScreen,
        _key("f", "fs_structs", "fs", "fs_structs: users, holders, root, pwd"),
        ("fs_struct",),
    ),
    Mode(
        "mounts",
        MountsScreen,
        _key("m", "mounts", "Mounts", "Mounts, a tree per namespace"),
        ("mount",),
    ),
    Mode(
        "namespaces",
        NamespacesScreen,
        hidden(
            "M",
            "browse('namespaces')",
            "go.namespaces",
            "Mount namespaces, and who keeps each",
        ),
        ("mount_namespace",),
    ),
    Mode(
        "subsystems",
        SubsystemsScreen,
        _key("s", "subsystems", "Subsys", "Subsystems: what the plugins report"),
        ("plugin",),
    ),
    Mode("findings", FindingsScreen, _key("n", "findings", "Findings", "What is wrong, worst first")),
    Mode(
        "events",
        EventsScreen,
        hidden(
            "L",
            "log",
            "go.events",
            "Event log: what changed since it is looked at; of a recording, all of it",
        ),
    ),
    Mode(
        "compare",
        CompareScreen,
        hidden("equals_sign", "compare", "go.compare", "Compare with a second target"),
    ),
    Mode("timeline", TimelineScreen),
    Mode(
        "fleet",
        FleetScreen,
        hidden("O", "browse('fleet')", "go.fleet", "The targets of the fleet that this one is of"),
    ),
    Mode(
        "lookups",
        LookupsScreen,
        hidden(
            "W", "browse('lookups')", "go.lookups", "Path lookups as they happen: traces the running kernel"
        ),
    ),
)
