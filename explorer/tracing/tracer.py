"""Tracing a live kernel: from opening it to the last lookup.

In steps, as rights allow: :meth:`Tracer.attach` opens everything, parses nothing, and needs root;
:meth:`Tracer.read_kernel` reads symbols and types, :meth:`Tracer.begin` which tasks and mounts there are, and
:meth:`Tracer.poll` what has happened since, and they need none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Self

from explorer.capture import (
    CaptureRequest,
    MountNow,
    NameidataOffsets,
    ProbeMisses,
    ReadError,
    WorkOffsets,
    WorkqueueNow,
    capture_snapshot,
)
from explorer.keeper import Keeper
from explorer.model import Lookup, TraceEnd, TraceHeader
from explorer.targets import OpenKernel, OpenOptions, TargetError, TargetSpec, open_kernel

from .buffers import Instance
from .decode import CpuDecoder, EndEvent, WalkEvent
from .events import DefinedEvents, define_events
from .instances import Owner, find_tracefs, remove_stale, remove_tracing
from .joining import JoinedLookup, Joiner
from .kallsyms import Kallsyms, open_kallsyms
from .layout import offsets_apart
from .making import LookupMaker, chosen_tasks, make_header, utc_text
from .places import MountPlaces
from .workqueues import Workqueues

__all__ = ("POLL_S", "TraceOptions", "Tracer")

#: Between two looks at the buffers: a compromise between how soon a lookup is shown, and what looking costs.
POLL_S = 0.1
#: The trace clock and this process's may differ by so much.
_CLOCKS_NS = 2_000_000
#: A stack that has not come by then is lost; a lookup that was not begun again by then has ended.
_LATE_NS = 500_000_000
_PAGES_AT_ONCE = 512
#: More than a buffer has: to empty one that takes no more.
_ALL_PAGES = 1 << 14


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """What to trace."""

    users: Sequence[str] = ()
    """User tasks, by pid or by name, beside the kernel's threads."""
    open_options: OpenOptions = field(default_factory=OpenOptions)


class Tracer:
    """One trace of the running kernel. Use it in a ``with``: whatever ends that, the tracing instance is removed."""

    def __init__(self, options: TraceOptions | None = None) -> None:
        self._options = options or TraceOptions()
        self._keeper: Keeper | None = None
        self._instance: Instance | None = None
        self.kernel: OpenKernel | None = None
        """The running kernel, once it is open; closed with the trace."""
        self._files: list[int] = []
        self._symbols: Kallsyms | None = None
        self._offsets: NameidataOffsets
        self._work_offsets: WorkOffsets
        self._defined: DefinedEvents
        self._decoders: list[CpuDecoder] = []
        self._joiner = Joiner()
        self._pending: list[tuple[int, int, WalkEvent | EndEvent]] = []
        self._sequence = 0
        self._written = 0
        self._told = 0
        self._stopped = False
        self._name = ""
        """Of the tracing instance, and of the group of its events."""
        self.notes: list[str] = []
        """What was found and removed, and what could not be."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def attach(self) -> None:
        """Make the tracing instance, and open the kernel's memory and all files.

        :raises TargetError: if tracefs, the kernel's memory or its symbols cannot be had
        """
        tracefs = find_tracefs()
        if os.geteuid() != 0:
            raise TargetError("trace needs root: run it under sudo")
        removed, left = remove_stale(tracefs)
        self.notes += [f"removed what a trace that was killed had left: {name}" for name in removed]
        self.notes += [f"left by a trace that was killed, and still there: {what}" for what in left]
        name = self._name = Owner.this().name
        # It keeps root's rights, which removing takes, and parses nothing.
        self._keeper = Keeper(lambda: remove_tracing(tracefs, name))
        try:
            self._files = open_kallsyms()
        except OSError as error:
            raise TargetError(f"/proc/kallsyms: {error}") from error
        self._offsets, self._work_offsets = offsets_apart(self._options.open_options)
        self._instance = Instance(tracefs, name)
        self._defined = define_events(tracefs, name, self._offsets, self._work_offsets)
        self._instance.set_up(self._defined.names)
        if self._defined.has_works:
            self._instance.tabulate_works()

    def read_kernel(self) -> OpenKernel:
        """Read the kernel's symbols and types, and the formats of events: of what is open.

        :raises TargetError: if one of them cannot be read
        """
        assert self._instance is not None
        files, self._files = self._files, []
        try:
            self._symbols = Kallsyms(files)
        except (OSError, ValueError) as error:
            raise TargetError(f"/proc/kallsyms: {error}") from error
        kernel = self.kernel = open_kernel(TargetSpec("live", "live"), self._options.open_options)
        formats = self._instance.understand()
        self._decoders = [CpuDecoder(formats, cpu.cpu) for cpu in self._instance.cpus]
        return kernel

    def begin(self) -> TraceHeader:
        """Read which tasks and mounts there are, and start."""
        kernel = self.kernel or self.read_kernel()
        assert self._instance is not None
        assert self._symbols is not None
        request = CaptureRequest.from_kernel(kernel)
        snapshot = capture_snapshot(request)
        users = chosen_tasks(snapshot, self._options.users)
        mounts = MountPlaces(snapshot, self._offsets.mount_mnt, MountNow(request).read)
        maker = self._maker = LookupMaker(snapshot, mounts, self._symbols, self._workqueues(request), users)
        self._instance.watch(sorted(maker.kernel_pids | users))
        self._instance.switch(True)
        return make_header(snapshot, self._defined.source, bool(users))

    def _workqueues(self, request: CaptureRequest) -> Workqueues:
        """Those of works; of a kernel that does not tell, none, which is said."""
        assert self._instance is not None
        works = self._instance.works
        try:
            if works is not None:
                return Workqueues(works.read, WorkqueueNow(request).name)
            why = "it keeps no table of works"
        except LookupError as error:
            why = str(error)
        self._defined.problems.append(f"which workqueue a work is of cannot be seen on this kernel: {why}")
        return Workqueues(dict, lambda data: None)

    def poll(self) -> list[Lookup]:
        """What has ended since the last call, in the order in which it ended."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - _CLOCKS_NS
        return self._take(now, now - _LATE_NS)

    def poll_with_lost(self) -> tuple[list[Lookup], int]:
        """As :meth:`poll`; with the events, or lookups of which only the end came, that were lost since."""
        found = self.poll()
        lost = self.lost() + self._joiner.orphans
        before, self._told = self._told, lost
        return found, lost - before

    def lookups(self) -> Iterator[Lookup | None]:
        """Lookups as they end, and ``None`` after each look at the buffers, until :meth:`stop`; then what is left."""
        while not self._stopped:
            yield from self.poll()
            yield None
            time.sleep(POLL_S)
        yield from self.rest()

    def stop(self) -> None:
        """Record no more; may be called by a signal's handler."""
        if self._instance is not None and not self._stopped:
            self._stopped = True
            self._instance.switch(False)

    def rest(self) -> list[Lookup]:
        """Stop, and give what there is: also lookups that have not ended."""
        self.stop()
        return self._take(None, None)

    def lost(self) -> int:
        """Events that the kernel had no room for, so far."""
        return 0 if self._instance is None else self._instance.lost()

    def events(self) -> int:
        """Events that were read, of all sorts, so far: with :meth:`lost` all that there was to record."""
        return 0 if self._instance is None else self._instance.taken()

    def end(self, reason: Literal["done", "until", "interrupted", "broken"]) -> TraceEnd:
        """What is known when it has ended."""
        damaged = sum(decoder.damaged for decoder in self._decoders)
        problems = [*self._defined.problems, *self._missed_words()]
        if self._instance is not None:
            damaged += sum(cpu.damaged for cpu in self._instance.cpus)
            taken, recorded = self._instance.taken(), self._instance.recorded()
            if taken != recorded:
                problems.append(f"of {recorded} events that the kernel recorded, {taken} were read")
        if damaged:
            problems.append(f"{damaged} events or pages of the ring buffer made no sense, and were left out")
        return TraceEnd(
            ended=utc_text(datetime.now(UTC)),
            reason=reason,
            lookups=self._written,
            events_lost=self.lost(),
            lookups_lost=self._joiner.orphans,
            problems=problems,
        )

    def _missed_words(self) -> list[str]:
        """What the probes did not see, which the buffers cannot know of."""
        assert self.kernel is not None
        try:
            missed = ProbeMisses(self.kernel.prog, self.kernel.types, self._name).count()
        except (LookupError, ReadError) as error:
            return [f"whether the probes missed any lookup cannot be told: {error}"]
        if not missed:
            return []
        return [
            f"the probes missed {missed} calls, of whatever task: lookups or their results may be missing"
        ]

    def close(self) -> None:
        """Let go of everything, and have the instance and its events removed."""
        if self._instance is not None:
            self._instance.close()
        if self._symbols is not None:
            self._symbols.close()
        for descriptor in self._files:
            os.close(descriptor)
        self._files = []
        if self.kernel is not None:
            self.kernel.close()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self.notes += [f"could not be removed: {what}; run trace --clean" for what in keeper.call()]

    def _take(self, until: int | None, late: int | None) -> list[Lookup]:
        """:param until: events from this time on may not all be there yet; ``None``: there will be none
        :param late: what waits for something since before this, waits no more"""
        assert self._instance is not None
        for buffer, decoder in zip(self._instance.cpus, self._decoders, strict=True):
            for number in range(_ALL_PAGES if until is None else _PAGES_AT_ONCE):
                page = buffer.take()
                if page is None:
                    break
                self._keep(decoder.decode(page.events))
                if number + 1 == _PAGES_AT_ONCE and until is not None and page.events:
                    until = min(until, page.events[-1][0])  # there is more of this CPU
            self._keep(decoder.flush() if late is None else decoder.flush_old(late))
            waiting = decoder.waits_since()
            if until is not None and waiting is not None:
                until = min(until, waiting)
        self._pending.sort(key=lambda each: each[:2])
        at = len(self._pending)
        if until is not None:
            at = next((at for at, each in enumerate(self._pending) if each[0] >= until), at)
        ready, self._pending = self._pending[:at], self._pending[at:]
        joined = [lookup for _, _, event in ready for lookup in self._join(event)]
        joined += self._joiner.flush(late)
        made = list(self._maker.make_all(joined))
        self._written += len(made)
        return made

    def _keep(self, events: Iterator[WalkEvent | EndEvent] | Iterator[WalkEvent]) -> None:
        for event in events:
            self._sequence += 1
            self._pending.append((event.time, self._sequence, event))

    def _join(self, event: WalkEvent | EndEvent) -> Iterator[JoinedLookup]:
        return self._joiner.walk(event) if isinstance(event, WalkEvent) else self._joiner.end(event)
