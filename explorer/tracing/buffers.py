"""The files of a tracing instance: opened with rights, used without.

Mirrors kernel/trace/trace.c: a buffer for each CPU, of which ``trace_pipe_raw`` gives whole pages and takes them out;
``stats`` counts what there was no room for. Access is checked when a file is opened, and not again.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from explorer.targets import TargetError

from .decode import Formats
from .events import WALK_EVENT, WORK_EVENT
from .formats import FormatError, parse_event_format, parse_page_header
from .instances import open_control, write_control
from .pages import DamagedPageError, Page, read_page
from .workqueues import WorkTable

__all__ = ("CpuBuffer", "Instance")

#: Of all CPUs together; and what one gets at least and at most.
_BUFFERS_KB, _LEAST_KB, _MOST_KB = 64 << 10, 256, 8 << 10
#: A path has up to 4,096 bytes, and an event must fit a page.
_PAGE_KB = 8
_KERNEL_PAGE = 4096
_STAT = re.compile(rb"^([a-z ]+): (\d+)$", re.MULTILINE)
_LOST = (b"overrun", b"commit overrun", b"dropped events")
_RECORDED = (b"read events", b"entries")
_KTHREADD = 2


class CpuBuffer:
    """The ring buffer of one CPU."""

    def __init__(self, directory: Path, cpu: int, page_size: int) -> None:
        self.cpu = cpu
        self.layout = (0, 0)
        """Of a page's header, once that is known."""
        self.damaged = 0
        """Pages that made no sense."""
        self.taken = 0
        """Events of the pages that did."""
        self._page_size = page_size
        self._pages = os.open(directory / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._stats = os.open(directory / "stats", os.O_RDONLY | os.O_CLOEXEC)

    def take(self) -> Page | None:
        """The next page; ``None``: there is nothing now."""
        while True:
            try:
                page = os.read(self._pages, self._page_size)
            except BlockingIOError:
                return None
            if not page:
                return None
            try:
                found = read_page(page, *self.layout)
            except DamagedPageError:
                self.damaged += 1
                continue
            self.taken += len(found.events)
            return found

    def lost(self) -> int:
        """Events that there was no room for, since the instance was made."""
        return self._count(_LOST)

    def recorded(self) -> int:
        """Events that there was room for: those that were read, and those that are left."""
        return self._count(_RECORDED)

    def _count(self, names: tuple[bytes, ...]) -> int:
        found = _STAT.findall(os.pread(self._stats, _KERNEL_PAGE, 0))
        return sum(int(number) for name, number in found if name in names)

    def close(self) -> None:
        os.close(self._pages)
        os.close(self._stats)


class Instance:
    """Made, set up and stopped; :meth:`close` lets go of its files, so that it can be removed."""

    def __init__(self, tracefs: Path, name: str) -> None:
        self._tracefs, self._name = tracefs, name
        self._directory = tracefs / "instances" / name
        self._descriptors: list[int] = []
        self.cpus: list[CpuBuffer] = []
        self.works: WorkTable | None = None
        """Of which works there are; ``None``: the kernel keeps no such table."""
        self._formats: dict[str, str] = {}
        self._stack = self._header = ""
        try:
            self._directory.mkdir()
            self._write("tracing_on", "0")
        except OSError as error:
            raise TargetError(
                f"{self._directory}: {error.strerror}: no tracing instance can be made"
            ) from error

    def set_up(self, events: list[str]) -> None:
        """Everything but which tasks, and the start.

        :param events: of the group that has this instance's name
        :raises TargetError: if the kernel refuses
        """
        group = f"events/{self._name}"
        try:
            self._write("trace_clock", "boot")
            self._write("options/overwrite", "0")
            page_size = self._set_sizes()
            self._write("set_event_pid", str(_KTHREADD))
            self._write("options/event-fork", "1")
            for event in events:
                self._write(f"{group}/{event}/enable", "1")
            self._write(f"{group}/{WALK_EVENT}/trigger", "stacktrace")
            self._formats = {event: self._read(f"{group}/{event}/format") for event in events}
            self._stack = (self._tracefs / "events/ftrace/kernel_stack/format").read_text()
            self._header = (self._tracefs / "events/header_page").read_text()
            for directory in sorted((self._directory / "per_cpu").iterdir()):
                self.cpus.append(CpuBuffer(directory, int(directory.name[3:]), page_size))
            self._pids, self._on = (self._open(name) for name in ("set_event_pid", "tracing_on"))
        except OSError as error:
            raise TargetError(f"{error.filename or self._directory}: {error.strerror}") from error

    def understand(self) -> Formats:
        """What the kernel says of events and pages, of which there were only the texts; it needs no rights.

        :raises TargetError: if it makes no sense
        """
        try:
            layout = parse_page_header(self._header)
            for cpu in self.cpus:
                cpu.layout = layout
            events = {event: parse_event_format(text) for event, text in self._formats.items()}
            return Formats.of(events, parse_event_format(self._stack))
        except FormatError as error:
            raise TargetError(f"{self._directory}: {error}") from error

    def tabulate_works(self) -> None:
        """Have a table kept of the works that run, if the kernel can do that."""
        with suppress(OSError):
            self.works = WorkTable(self._directory / "events" / self._name / WORK_EVENT)

    def watch(self, pids: list[int]) -> None:
        """Record events of these tasks too, and of what they start."""
        os.write(self._pids, (" ".join(map(str, pids)) + "\n").encode())

    def switch(self, on: bool) -> None:
        """Record, or do not."""
        os.write(self._on, b"1\n" if on else b"0\n")

    def lost(self) -> int:
        """Events that there was no room for."""
        return sum(cpu.lost() for cpu in self.cpus)

    def taken(self) -> int:
        """Events that were read, and made sense."""
        return sum(cpu.taken for cpu in self.cpus)

    def recorded(self) -> int:
        """Events that there was room for."""
        return sum(cpu.recorded() for cpu in self.cpus)

    def close(self) -> None:
        for cpu in self.cpus:
            cpu.close()
        if self.works is not None:
            self.works.close()
            self.works = None
        for descriptor in self._descriptors:
            os.close(descriptor)
        self.cpus, self._descriptors = [], []

    def _set_sizes(self) -> int:
        """Of all buffers, and of their pages. Returns the size of a page in bytes."""
        number = sum(1 for _ in (self._directory / "per_cpu").iterdir())
        self._write("buffer_size_kb", str(max(_LEAST_KB, min(_MOST_KB, _BUFFERS_KB // max(number, 1)))))
        if not (self._directory / "buffer_subbuf_size_kb").exists():  # before 6.8
            return _KERNEL_PAGE
        self._write("buffer_subbuf_size_kb", str(_PAGE_KB))
        return int(self._read("buffer_subbuf_size_kb")) << 10

    def _read(self, name: str) -> str:
        return (self._directory / name).read_text()

    def _write(self, name: str, text: str) -> None:
        write_control(self._directory / name, text)

    def _open(self, name: str) -> int:
        descriptor = open_control(self._directory / name)
        self._descriptors.append(descriptor)
        return descriptor
