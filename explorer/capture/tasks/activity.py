"""What each task is doing right now: the path it walks, when it last ran, its stack."""

from __future__ import annotations

from typing import NamedTuple

from explorer.capture.memory import AnyTask
from explorer.model import StackFrame

from .clocks import SchedulerClocks
from .stacks import StackReader
from .walks import WalkReader

__all__ = ("TaskActivity",)


class TaskActivity(NamedTuple):
    """What is asked of every task."""

    walks: WalkReader
    clocks: SchedulerClocks
    stacks: StackReader | None
    """``None`` without DWARF."""

    def read_stack(self, task: AnyTask) -> list[StackFrame] | None:
        """The task's kernel stack; ``None`` without DWARF."""
        return None if self.stacks is None else self.stacks.read_stack(task)
