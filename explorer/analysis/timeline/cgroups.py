"""Tasks that were moved to another control group, and so perhaps into a container or out of one. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from explorer.model import KernelText, Task
from explorer.naming import container_words, name_tasks

__all__ = ("GroupMove", "find_moves")


@dataclass(frozen=True, slots=True)
class GroupMove:
    """Tasks that went from one group to another."""

    before: KernelText
    after: KernelText
    containers: tuple[str, str]
    tasks: list[Task] = field(default_factory=list)

    @property
    def text(self) -> KernelText:
        """``sh (99) moves from no container to docker web, cgroup /a → /docker/web``."""
        moves = "moves" if len(self.tasks) == 1 else "move"
        old, new = self.containers
        container = "" if old == new else f" from {_container(old)} to {_container(new)},"
        return f"{name_tasks(self.tasks)} {moves}{container} cgroup {self.before} → {self.after}"


def _container(words: str) -> str:
    return "no container" if words == "none" else words


def find_moves(pairs: Iterable[tuple[Task, Task]]) -> Iterator[GroupMove]:
    """Who moved, by where from and where to. What could not be read has not moved; a thread that moved as the rest of
    its process did is not told beside it."""
    moves: dict[tuple[KernelText, KernelText], GroupMove] = {}
    for old, new in pairs:
        if old.cgroup is None or new.cgroup is None or old.cgroup == new.cgroup:
            continue
        key = (old.cgroup, new.cgroup)
        if key not in moves:
            containers = (container_words(old.container), container_words(new.container))
            moves[key] = GroupMove(*key, containers)
        moves[key].tasks.append(new)
    for move in moves.values():
        leaders = {task.pid for task in move.tasks if task.pid == task.tgid}
        move.tasks[:] = [task for task in move.tasks if task.pid == task.tgid or task.tgid not in leaders]
        yield move
