"""Who owns which ``fs_struct``: ``real_fs`` of a task where the kernel has it, else ``fs``; and who shares it."""

from __future__ import annotations

from typing import NamedTuple

from explorer.capture.memory import AnyTask, RawFs
from explorer.capture.tasks import FoundTasks
from explorer.model import Owner, classify_owner

from .generation import WellKnown

__all__ = ("Ownership", "RawKernel")


class RawKernel(NamedTuple):
    """What was read of a kernel's tasks, before anything is decided by it."""

    known: WellKnown
    tasks: FoundTasks
    fs_structs: dict[int, RawFs | None]
    """By address; ``None`` for what could not be read."""
    namespace_of: dict[int, int | None]
    """``nsproxy`` -> ``mnt_ns``."""
    init_task: AnyTask | None


class Ownership:
    """Of the tasks of one kernel. :param has_real_fs: the kernel has ``task_struct.real_fs``"""

    def __init__(self, raw: RawKernel, has_real_fs: bool) -> None:
        self._has_real_fs = has_real_fs
        self._known = raw.known
        self._fs_structs = raw.fs_structs
        #: ``fs_struct`` -> how many tasks own it.
        self.sharers = raw.tasks.columns.sharers.copy()
        partly = [self.owned_fs(task) for task in raw.tasks.partial.values()]
        self.sharers.update(address for address in partly if address)
        del self.sharers[0]
        # There may be sharers that are not known: then only the kernel's own count tells a shared fs_struct.
        self._unknown_sharers = raw.tasks.lost is not None or None in partly
        #: Those for whom one owner makes an ``fs_struct`` private, without more ado: none, if that is not certain.
        self.plainly_private: set[int] = set()
        if not self._unknown_sharers and not raw.known.init_unread:
            self.plainly_private = {address for address, count in self.sharers.items() if count == 1}
            self.plainly_private -= {raw.known.init_fs, raw.known.userspace_init_fs}

    def owned_fs(self, task: AnyTask) -> int | None:
        """What a task owns. 0: NULL; ``None``: it is not there."""
        return task.real_fs if self._has_real_fs else task.fs

    def owner(self, owned: int) -> Owner | None:
        """Whose ``fs_struct`` it is; ``None`` if others may share it who were not found, and it has no count."""
        sharers = self.sharers[owned] if owned else 0
        known = self._known
        owner = classify_owner(owned or None, sharers, known.init_fs, known.userspace_init_fs)
        if owner in (Owner.PRIVATE, Owner.SHARED) and known.init_unread:
            return None
        if owner is not Owner.PRIVATE or not self._unknown_sharers:
            return owner
        fs = self._fs_structs.get(owned)
        if fs is None or fs.users is None:
            return None
        return Owner.PRIVATE if fs.users == 1 else Owner.SHARED
