"""One pass over the files of all tasks: their descriptors, the programs they run, what they have mapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from explorer.capture.memory import AnyTask, ReadError, is_kernel_pointer
from explorer.model import UseHow

from .files import FileReader, Hold
from .tables import TaskFiles

__all__ = ("FileScan", "Finder")


class Finder(Protocol):
    """Who wants to know what the files hold."""

    @property
    def live(self) -> bool:
        """The kernel runs."""

    def user_tasks(self) -> Iterator[AnyTask]:
        """Whose files are to be read."""

    def note(self, hold: Hold, task: int, how: UseHow, fd: int | None) -> None:
        """A file was found that holds something that was asked for."""

    def fault(self, task: AnyTask, what: str, error: ReadError) -> None:
        """Some files of a task could not be read."""

    def spend(self) -> None:
        """:raises ReadError: if all tasks together have more files than any real system"""


class FileScan:
    """One pass over the files of all tasks."""

    def __init__(self, owner: Finder, files: FileReader, tasks: TaskFiles) -> None:
        self._owner = owner
        self._files = files
        self._tasks = tasks
        self._holds: dict[int, list[Hold]] = {}
        self._pointers: list[tuple[AnyTask, int, int]] = []
        self._seen: set[int] = set()
        #: Table of descriptors -> what was found in it, and the processes that share it.
        self._tables: dict[int, tuple[list[tuple[int, Hold]], set[int | None]]] = {}

    def _each(self, what: str, read: Callable[[AnyTask, int, int], None]) -> None:
        for task, files, mm in self._pointers:
            try:
                read(task, files, mm)
            except ReadError as error:
                if not self._has_moved(task, files, mm):
                    self._owner.fault(task, what, error)

    def _has_moved(self, task: AnyTask, files: int, mm: int) -> bool:
        """On a live kernel the task may have exited, or executed a program: what it held is gone."""
        if not self._owner.live:
            return False
        try:
            return self._tasks.pointers(task) != (files, mm)
        except ReadError:
            return True

    def descriptors(self) -> None:
        """Of every table once, for whichever tasks share it."""
        for task in self._owner.user_tasks():
            try:
                self._pointers.append((task, *self._tasks.pointers(task)))
            except ReadError as error:
                if not self._owner.live:
                    self._owner.fault(task, "files and mm", error)
        self._each("files", self._read_descriptors)

    def _read_descriptors(self, task: AnyTask, files: int, mm: int) -> None:
        if not is_kernel_pointer(files):
            return
        if self._is_new(files):
            found: list[tuple[int, Hold]] = []
            self._tables[files] = found, {task.tgid}
            for number, file in self._tasks.descriptors(files):
                for hold in self._visit(task, file, "fd", number):
                    found.append((number, hold))
            return
        found, processes = self._tables[files]
        if task.tgid not in processes:  # another process shares the table (CLONE_FILES), not just a thread
            processes.add(task.tgid)
            for number, hold in found:
                self._owner.note(hold, task.address, "fd", number)

    def programs(self) -> None:
        """``/proc/PID/exe``"""
        self._each("exe_file", self._read_program)

    def _read_program(self, task: AnyTask, files: int, mm: int) -> None:
        if is_kernel_pointer(mm) and self._is_new(mm):
            file = self._tasks.address_space(mm).exe_file
            if is_kernel_pointer(file):
                self._visit(task, file, "exe", None)

    def mappings(self) -> None:
        """``/proc/PID/maps``"""
        self._seen.clear()
        self._each("mappings", self._read_mappings)

    def _read_mappings(self, task: AnyTask, files: int, mm: int) -> None:
        if not is_kernel_pointer(mm) or not self._is_new(mm):
            return
        space = self._tasks.address_space(mm)
        for file in dict.fromkeys(self._tasks.mapped_files(space)):
            self._visit(task, file, "map", None)

    def _is_new(self, address: int) -> bool:
        """Whether a table or an address space was not read yet in this pass."""
        new = address not in self._seen
        self._seen.add(address)
        return new

    def _visit(self, task: AnyTask, file: int, how: UseHow, fd: int | None) -> list[Hold]:
        self._owner.spend()
        holds = self._holds.get(file)
        if holds is None:
            holds = self._holds[file] = self._files.holds(file)
        for hold in holds:
            self._owner.note(hold, task.address, how, fd)
        return holds
