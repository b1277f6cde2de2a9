"""What a lookup means: on a kernel that isolates kernel threads, and, before, whether it would go on there.

Such a kernel (7.3) starts a kernel thread in an empty nullfs. A lookup ends there, unless the thread is inside
``scoped_with_init_fs()`` (and looks up as PID 1 does), has a root of its own (kdevtmpfs), or gives the lookup a root
(``vfs_path_lookup()``). Where kernel threads have init's root, a lookup is judged by whether it is made in a function
that was converted upstream, which the plugins know.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from explorer.model import KernelText, Lookup, LookupPlace, Placement, TaskKind, TraceHeader, is_isolating
from explorer.plugin import Borrows, Plugin

from .asking import Asker, Runs, asker_of, find_function, frames_of, runs_of
from .vfs import bare_name, is_anchored

__all__ = ("BAD", "FIX", "Judge", "Judged", "LookupMeaning", "Meaning")


class LookupMeaning(StrEnum):
    """What becomes of a lookup, or of one like it, where kernel threads are isolated."""

    FAILS = "fails"
    """It started in nullfs, which is empty."""
    WOULD_FAIL = "would-fail"
    """Before 7.3: it will start in nullfs there."""
    EMPTY = "empty"
    """It started in nullfs, or would, and asks for nothing but where it starts: there is nothing in it."""
    UNKNOWN = "unknown"
    """What decides is not known: the stack was lost, or where it started."""
    BORROWED = "borrowed"
    """Made as init, inside ``scoped_with_init_fs()``."""
    CONVERTED = "converted"
    """Before 7.3: made in a function that borrows there."""
    OWN_ROOT = "own-root"
    """The thread has a root of its own, as kdevtmpfs has, or PID 1."""
    GIVEN_ROOT = "given-root"
    """The caller gives the lookup its root."""
    USERMODEHELPER = "usermodehelper"
    """A helper's own: it has a copy of init's ``fs_struct``."""
    USER = "user"
    """A program's own, in its system call."""


#: What an exit code is about.
BAD = frozenset({LookupMeaning.FAILS, LookupMeaning.WOULD_FAIL})

#: What to do about a lookup of a kernel thread.
FIX = (
    "put scoped_with_init_fs() round the lookup, or move it to where a user asked: a system call, a write to sysfs or "
    "configfs"
)
_WORKERS_OF_PROGRAMS = ("io_wq_worker", "io_sq_thread", "vhost_task_fn")
_HELPERS = ("call_usermodehelper_exec_async",)


@dataclass(frozen=True, slots=True)
class Meaning:
    """One lookup's, in words. Text is not escaped."""

    kind: LookupMeaning
    says: KernelText
    """A few words, for a cell."""
    explanation: KernelText
    do: KernelText = ""
    """Empty: nothing."""
    function: KernelText | None = None
    """The function that borrows, as the kernel of 7.3 calls it."""
    subsystem: str | None = None
    """The plugin that knows it."""

    @property
    def is_bad(self) -> bool:
        return self.kind in BAD


@dataclass(frozen=True, slots=True)
class Judged:
    """A lookup, who asked, and what it means."""

    lookup: Lookup
    asker: Asker | None
    runs: Runs | None
    meaning: Meaning

    @property
    def module(self) -> KernelText | None:
        """The module to fix: of who asked, or that which called the kernel's function that asked."""
        if self.asker is None or self.asker.module is not None:
            return None if self.asker is None else self.asker.module
        return next(
            (frame.module for frame in frames_of(self.lookup) or () if frame.module is not None), None
        )


class Judge:
    """Judges the lookups of one trace, one by one."""

    def __init__(self, header: TraceHeader, plugins: Iterable[Plugin]) -> None:
        self.header = header
        self.isolates = is_isolating(header.generation)
        self._taints = {module.name: module.taints for module in header.modules}
        self._borrows: dict[str, list[tuple[Plugin, Borrows]]] = {}
        for plugin in plugins:
            for borrows in plugin.borrows:
                for name in borrows.names():
                    self._borrows.setdefault(name, []).append((plugin, borrows))

    def judge(self, lookup: Lookup) -> Judged:
        asker = asker_of(lookup, self._taints)
        meaning = self._isolated(lookup) if self.isolates else self._before(lookup)
        return Judged(lookup, asker, runs_of(lookup), meaning)

    # -- 7.3 on --------------------------------------------------------------------------------------------------

    def _isolated(self, lookup: Lookup) -> Meaning:
        place = lookup.start or lookup.root
        converted = self._converted(lookup)
        if place is not None and self._is_nullfs(place):
            return _in_nullfs(lookup, converted)
        if converted is not None and (lookup.in_kernel or converted[1].by_user_tasks):
            return _borrowed(converted)
        own = _not_a_kernel_threads(lookup)
        if own is not None:
            return own
        if lookup.stack and any(map(is_anchored, frames_of(lookup) or ())):
            return _GIVEN_ROOT
        if place is None:
            return _unknown("where it started is not known")
        if self._is_inits(place) or (lookup.root is not None and self._is_inits(lookup.root)):
            return _borrowed(None)
        if place.placement is Placement.NS_ROOT:
            return _OWN_ROOT
        return self._elsewhere(lookup, place)

    def _elsewhere(self, lookup: Lookup, place: LookupPlace) -> Meaning:
        """Neither in nullfs nor at any root that one knows: a root of its own, if that is what it started at."""
        if place.placement is None:
            return _unknown("it started on a mount that was nobody's root when the trace began")
        if not lookup.stack:
            return _unknown("its stack was lost, and it started neither in nullfs nor at init's root")
        if lookup.root is None and not (lookup.path or "").startswith("/"):
            return _unknown("it started at a working directory, which may be init's")
        return _OWN_ROOT

    def _is_nullfs(self, place: LookupPlace) -> bool:
        if self.header.isolation_mount is not None and place.mount == self.header.isolation_mount:
            return True
        return place.placement is Placement.NULLFS

    def _is_inits(self, place: LookupPlace) -> bool:
        return place.mount == self.header.init_root_mount or place.placement is Placement.INIT_ROOT

    # -- before --------------------------------------------------------------------------------------------------

    def _before(self, lookup: Lookup) -> Meaning:
        own = _not_a_kernel_threads(lookup)
        if own is not None:
            return own
        place = lookup.root or lookup.start
        if place is not None and place.placement is Placement.NS_ROOT and not self._is_inits(place):
            return _OWN_ROOT
        if not lookup.stack:
            return _unknown("its stack was lost: who asked cannot be told")
        converted = self._converted(lookup)
        if converted is not None:
            return _is_converted(converted)
        if any(map(is_anchored, frames_of(lookup) or ())):
            return _GIVEN_ROOT
        if _asks_for_nothing(lookup):
            return Meaning(
                LookupMeaning.EMPTY,
                "would find only nullfs",
                "On 7.3 a kernel thread starts in nullfs: it would find that, and nothing in it.",
                f"If it is init's root that is wanted, {FIX}.",
            )
        return Meaning(
            LookupMeaning.WOULD_FAIL,
            "would fail",
            "A kernel thread asks, and no function that was converted upstream is on its stack: on 7.3 the lookup "
            "would start in nullfs, which is empty.",
            f"{FIX[0].upper()}{FIX[1:]}.",
        )

    def _converted(self, lookup: Lookup) -> tuple[Plugin, Borrows] | None:
        """The innermost function on the stack that a plugin knows, in the module that the plugin is about."""
        for frame in frames_of(lookup) or ():
            for plugin, borrows in self._borrows.get(bare_name(frame.function or ""), ()):
                if frame.module is None or frame.module in plugin.needs_modules:
                    return plugin, borrows
        return None


def _not_a_kernel_threads(lookup: Lookup) -> Meaning | None:
    """What is made with a program's root, or with PID 1's, whoever calls; ``None``: a kernel thread asks."""
    if not lookup.in_kernel:
        return _USER
    if lookup.kind is TaskKind.USERMODEHELPER or find_function(lookup, *_HELPERS):
        return _USERMODEHELPER
    if lookup.kind is TaskKind.INIT or find_function(lookup, "kernel_init"):
        return _PID1
    if lookup.kind is TaskKind.IO_WORKER or find_function(lookup, *_WORKERS_OF_PROGRAMS):
        return _USER
    return None


_USER = Meaning(
    LookupMeaning.USER, "user", "A program asks, or a worker of its own: with the program's own root."
)
_USERMODEHELPER = Meaning(
    LookupMeaning.USERMODEHELPER,
    "usermodehelper",
    "A program that the kernel starts: it has a copy of init's fs_struct, on 7.3 too.",
)
_PID1 = Meaning(LookupMeaning.OWN_ROOT, "own root", "PID 1 asks, before it is a program: its root is init's.")
_OWN_ROOT = Meaning(
    LookupMeaning.OWN_ROOT,
    "own root",
    "The thread has a root of its own, neither nullfs nor init's, on every kernel.",
)
_GIVEN_ROOT = Meaning(
    LookupMeaning.GIVEN_ROOT,
    "given its root",
    "The caller gives the lookup a directory as its root: which root the thread has does not matter.",
)


def _unknown(why: str) -> Meaning:
    return Meaning(LookupMeaning.UNKNOWN, "cannot tell", f"What it means cannot be told: {why}.")


def _borrowed(converted: tuple[Plugin, Borrows] | None) -> Meaning:
    if converted is None:
        return Meaning(
            LookupMeaning.BORROWED,
            "borrowed",
            "A kernel thread asks, and starts at init's root: it is inside scoped_with_init_fs(). No plugin knows the "
            "function.",
        )
    plugin, borrows = converted
    return Meaning(
        LookupMeaning.BORROWED,
        f"borrowed in {borrows.function}",
        f"{borrows.function} looks paths up inside scoped_with_init_fs(): as init ({plugin.title}).",
        function=borrows.function,
        subsystem=plugin.name,
    )


def _is_converted(converted: tuple[Plugin, Borrows]) -> Meaning:
    plugin, borrows = converted
    return Meaning(
        LookupMeaning.CONVERTED,
        f"converted: {borrows.function}",
        f"On 7.3 {borrows.function} makes it inside scoped_with_init_fs(), as init ({plugin.title}).",
        function=borrows.function,
        subsystem=plugin.name,
    )


def _in_nullfs(lookup: Lookup, converted: tuple[Plugin, Borrows] | None) -> Meaning:
    if _asks_for_nothing(lookup):
        return Meaning(
            LookupMeaning.EMPTY,
            "found only nullfs",
            "It asks for no more than where it starts, which is nullfs: there is nothing in it.",
            f"If it is init's root that is wanted, {FIX}.",
        )
    if not lookup.in_kernel:
        explanation = "The program's own root is the kernel's nullfs, which is empty: it finds no path."
        do = "Look for who moved it there: PID 1 has abandoned userspace_init_fs (audit: NX-PID1-ABANDONED)."
        return Meaning(LookupMeaning.FAILS, "fails in nullfs", explanation, do)
    if converted is not None:
        function = converted[1].function
        explanation = (
            f"It started in nullfs, which is empty, though {function} is on its stack and borrows since 7.3."
        )
        do = (
            "See whether userspace_init_fs points into nullfs (audit: NX-PID1-ABANDONED); else this kernel's "
            f"{function} does not borrow for this lookup."
        )
        return Meaning(LookupMeaning.FAILS, "fails in nullfs", explanation, do, function, converted[0].name)
    return Meaning(
        LookupMeaning.FAILS,
        "fails in nullfs",
        "A kernel thread asks, and has not borrowed init's fs: it started in nullfs, which is empty.",
        f"{FIX[0].upper()}{FIX[1:]}.",
    )


def _asks_for_nothing(lookup: Lookup) -> bool:
    """``/``, ``.``, ``/..``: nothing but where the lookup starts. A path that is not known asks for something."""
    return (
        lookup.path is not None
        and not lookup.path_cut
        and lookup.path != ""
        and all(part in ("", ".", "..") for part in lookup.path.split("/"))
    )
