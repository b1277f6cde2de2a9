"""Where tasks are: every fs_struct they have, the namespaces they are in, and the mounts that all of these lead to.

Of a kernel that runs, each of these may be freed, and its memory given to somebody else, between the reads that lead
to it. A task that at the end has the same fs_struct, with the same root and working directory in it, has held them
all the while: ``exit_fs()`` comes before what exit takes down, and ``set_fs_root()`` writes before it lets go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from operator import itemgetter

from explorer.capture.memory import AnyTask, Memory, RawFs, RawTask, ReadError, is_kernel_pointer
from explorer.capture.paths import MountTable, PathResolver
from explorer.capture.tasks import FoundTasks, FsReader, TaskReader

from .generation import WellKnown

__all__ = ("PlaceReader",)

_address_of = itemgetter(RawFs._fields.index("address"))
_root_and_pwd = itemgetter(*map(RawFs._fields.index, ("root_mnt", "pwd_mnt")))
_paths_of = itemgetter(*map(RawFs._fields.index, ("root_mnt", "root_dentry", "pwd_mnt", "pwd_dentry")))
_SETTLE_ROUNDS = 3


class PlaceReader:
    """Reads those of one kernel."""

    def __init__(self, memory: Memory, mounts: MountTable, tasks: TaskReader) -> None:
        self._memory = memory
        self._reader = memory.reader
        self._errors = memory.errors
        self._mounts = mounts
        self._task_reader = tasks
        self._fs_reader = FsReader(memory)
        self.paths = PathResolver(memory, mounts)
        self.fs_structs: dict[int, RawFs | None] = {}
        """By address; ``None`` for what could not be read."""
        self.namespace_of: dict[int, int | None] = {}
        """``nsproxy`` -> ``mnt_ns``."""

    def read_fs_structs(self, tasks: FoundTasks, known: WellKnown) -> None:
        """Every fs_struct that a task or a well-known pointer points at."""
        self.fs_structs = self._fs_reader.read_many(sorted(self._held(tasks, known)), self._missing_fs)

    def _held(self, tasks: FoundTasks, known: WellKnown) -> Collection[int]:
        held = tasks.columns.pointed_at.copy()
        for task in tasks.partial.values():
            held |= {task.fs or 0: 0, task.real_fs or 0: 0}
        held |= {known.init_fs or 0: 0, known.userspace_init_fs or 0: 0}
        held.pop(0, None)
        return held

    def _read_fs(self, address: int) -> None:
        try:
            self.fs_structs[address] = self._fs_reader.read_fs(address)
        except ReadError as error:
            self.fs_structs[address] = None
            self._missing_fs(address, error)

    def _missing_fs(self, address: int, error: ReadError) -> None:
        self._errors.add(f"fs_struct 0x{address:x}", "fs_struct", str(error))

    def read_mounts(self, tasks: FoundTasks) -> None:
        """The mount namespaces of all tasks, and of every mount that a root or a pwd is on."""
        columns = tasks.columns
        for nsproxy in columns.nsproxies:
            self._read_namespace(nsproxy, tasks.whole[columns.first_in[nsproxy]])
        for task in tasks.partial.values():
            self._read_namespace(task.nsproxy, task)
        there = [fs for fs in self.fs_structs.values() if fs is not None]
        holder_of: dict[int, int] = {}  # a handful of mounts, however many fs_structs
        for places, address in dict(
            zip(map(_root_and_pwd, there), map(_address_of, there), strict=True)
        ).items():
            for vfsmount in places:
                holder_of[vfsmount or 0] = max(holder_of.get(vfsmount or 0, 0), address)
        holder_of.pop(0, None)  # not there
        for vfsmount, holder in holder_of.items():
            self._read_mount(vfsmount, holder)

    def _read_namespace(self, nsproxy: int | None, task: AnyTask) -> None:
        if not nsproxy or nsproxy in self.namespace_of:
            return
        self.namespace_of[nsproxy] = None
        with self._errors.guard(task.name, "nsproxy.mnt_ns"):
            namespace = self._reader.read_u64(nsproxy + self._memory.layout.nsproxy_mnt_ns)
            self.namespace_of[nsproxy] = namespace
            self._mounts.load_namespace(namespace)

    def _read_mount(self, vfsmount: int, holder: int) -> None:
        with self._errors.guard(f"fs_struct 0x{holder:x}", "mount"):
            mount = self._mounts.read_mount(self._mounts.from_vfsmount(vfsmount))
            if mount.mnt_ns is not None and is_kernel_pointer(mount.mnt_ns):
                self._mounts.load_namespace(mount.mnt_ns)

    def settle(self, tasks: FoundTasks, known: WellKnown) -> None:
        """Of a kernel that runs: look at every task again, now that what it leads to has been read.

        A task that is somewhere else by now is taken as it is now; one that has gone is dropped and said so. What
        only those led to is not believed, and read again if anybody leads to it still.
        """
        unsettled = list(tasks.whole)
        for _ in range(_SETTLE_ROUNDS):
            self._read_paths()
            before = len(tasks.whole)
            stays: dict[int, bool] = {}  # by fs_struct
            unsettled = [address for address in unsettled if self._moved(tasks.whole, address, stays)]
            tasks.forget_columns()
            if unsettled or len(tasks.whole) < before:
                self._read_again(tasks, known, unsettled)
            if not unsettled:
                return
        for address in unsettled:
            why = f"it changed in each of {_SETTLE_ROUNDS} reads"
            self._errors.add(tasks.whole[address].name, "fs", why)

    def _moved(self, tasks: dict[int, RawTask], address: int, stays: dict[int, bool]) -> bool:
        before = tasks[address]
        try:
            now = self._task_reader.read_task(address)
        except ReadError as error:
            now, why = None, str(error)
        else:
            why = "it exited while the kernel was read"
        if now is None or (now.pid, now.start_time) != (before.pid, before.start_time):
            del tasks[address]
            self._errors.add(before.name, "task", why)
            return False
        if (now.fs, now.real_fs, now.nsproxy) != (before.fs, before.real_fs, before.nsproxy):
            tasks[address] = now
            return True
        return not all(self._stays(pointer, stays) for pointer in (now.fs, now.real_fs) if pointer)

    def _stays(self, address: int, known: dict[int, bool]) -> bool:
        """Whether an fs_struct has the places that it had; one that could not be read is not asked again."""
        stays = known.get(address)
        if stays is None:
            before = self.fs_structs[address]
            stays = before is None or before.unstable or self._is_as_before(before)
            known[address] = stays
        return stays

    def _is_as_before(self, before: RawFs) -> bool:
        try:
            now = self._fs_reader.read_fs(before.address)
        except ReadError:
            return False  # it is read again, and that says why
        return bool(_paths_of(now) == _paths_of(before))

    def _read_again(self, tasks: FoundTasks, known: WellKnown, moved: list[int]) -> None:
        """What those who moved lead to now; of what was read until now, only what the others hold is kept."""
        anew = {pointer for address in moved for pointer in _pointers(tasks.whole[address])}
        held = self._held(tasks, known)
        self.fs_structs = {
            address: fs for address, fs in self.fs_structs.items() if address in held and address not in anew
        }
        restless = set(moved)
        settled = {task.nsproxy for task in tasks.all() if task.address not in restless}
        self.namespace_of = {
            nsproxy: namespace for nsproxy, namespace in self.namespace_of.items() if nsproxy in settled
        }
        self._mounts.keep(
            {namespace for namespace in self.namespace_of.values() if namespace},
            {self._mounts.from_vfsmount(vfsmount) for vfsmount in self._vfsmounts()},
        )
        self.paths.forget()
        for pointer in sorted(anew):
            self._read_fs(pointer)
        self.read_mounts(tasks)

    def _vfsmounts(self) -> set[int]:
        there = (fs for fs in self.fs_structs.values() if fs is not None)
        return {vfsmount for fs in there for vfsmount in _root_and_pwd(fs) if vfsmount}

    def _read_paths(self) -> None:
        """The texts of all paths, while those who hold them are still to be looked at again."""
        for places in {_paths_of(fs) for fs in self.fs_structs.values() if fs is not None}:
            for vfsmount, dentry in (places[:2], places[2:]):
                if is_kernel_pointer(vfsmount or 0) and is_kernel_pointer(dentry or 0):
                    with suppress(ReadError):  # its record is made later, tries again, and says why
                        self.paths.path_text(self._mounts.from_vfsmount(vfsmount), dentry)


def _pointers(task: RawTask) -> Iterator[int]:
    return (pointer for pointer in (task.fs, task.real_fs) if pointer)
