"""What a plugin is: one kernel subsystem that does filesystem work from kernel context.

A plugin is a module with two halves that never meet except through data: ``collect`` runs at capture time and reads
the kernel with drgn; ``audit`` is pure and runs on any snapshot, anywhere. A module assigns one :class:`Plugin` to
``PLUGIN``. It imports drgn only inside ``collect`` (and under ``TYPE_CHECKING``), so that audits need no drgn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar

from pydantic import Field

from explorer.model import (
    KERNEL_WORD,
    Finding,
    Generation,
    KernelSetting,
    Owner,
    PathRef,
    Placement,
    Record,
    Reference,
    Severity,
    Snapshot,
    Task,
    UserModeHelper,
)

if TYPE_CHECKING:
    import drgn

T = TypeVar("T")

__all__ = (
    "Borrows",
    "Expectation",
    "Facts",
    "GuardedFacts",
    "KernelWord",
    "Plugin",
    "PluginKernel",
    "Speaks",
    "everywhere",
    "rule_prefix",
)

#: A field of facts that holds one of the kernel's words, or of the plugin's own, and never a user's: a function, a
#: state. Redaction leaves these as they are, and replaces whatever else is text.
KernelWord = Annotated[str, KERNEL_WORD]


def rule_prefix(name: str) -> str:
    """What the ids of all rules of a plugin begin with."""
    return f"NX-{name.upper().replace('_', '-')}-"


class Facts(Record):
    """Base of a plugin's facts. They are stored in ``snapshot.plugins[name]`` and must survive JSON.

    Addresses are declared as :data:`explorer.model.Address`, kernel text as :data:`explorer.model.KernelText`.
    """

    state: Literal["loaded", "not loaded", "failed"] = "loaded"
    """``not loaded``: the subsystem is not in this kernel now: never the same as *ok*."""


class GuardedFacts(Facts):
    """Facts that were read one by one."""

    missing: list[str] = Field(default_factory=list)
    """What could not be read, and why: ``what: reason``."""


@dataclass(frozen=True, slots=True)
class Speaks:
    """Tasks a plugin speaks for: all patterns given must match (shell wildcards)."""

    comm: str | None = None
    """``comm`` or the kthread's full name."""
    threadfn: str | None = None
    """Thread function, without its module."""
    work: str | None = None
    """The work function being run."""
    workqueue: str | None = None

    def matches(self, task: Task) -> bool:
        kthread = task.kthread
        if kthread is None:
            return self == Speaks(comm=self.comm) and _matches(self.comm, task.comm)
        return (
            _matches(self.comm, task.comm, kthread.full_name)
            and _matches(self.threadfn, kthread.threadfn)
            and _matches(self.work, kthread.current_func)
            and _matches(self.workqueue, kthread.workqueue)
        )


def _matches(pattern: str | None, *values: str | None) -> bool:
    return pattern is None or any(
        value is not None and fnmatchcase(value.partition(" [")[0], pattern) for value in values
    )


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where a plugin's own kernel threads belong."""

    owners: tuple[Owner, ...]
    roots: tuple[Placement, ...] = ()
    """Empty: no demand."""


@dataclass(frozen=True, slots=True)
class Borrows:
    """A function that looks paths up inside ``scoped_with_init_fs()`` since 7.3.

    A kernel of before makes the same lookups there; the root of the thread was init's then.
    """

    function: str
    seen_as: tuple[str, ...] = ()
    """What a stack may show instead: a function that it is inlined into, and that makes no other lookup; what it, or
    what makes the same lookup, was called before."""
    by_user_tasks: bool = False
    """It borrows whoever calls it, a system call too; else in kernel threads only."""

    def names(self) -> tuple[str, ...]:
        """All that a stack may show."""
        return (self.function, *self.seen_as)


def everywhere(expectation: Expectation) -> dict[Generation, Expectation]:
    """The same expectation in every generation."""
    return dict.fromkeys(Generation, expectation)


class PluginKernel(Protocol):
    """The open kernel as ``collect`` sees it. Everything may raise ``drgn.FaultError`` or ``LookupError``."""

    @property
    def prog(self) -> drgn.Program:
        """drgn's program. BTF has no types for variables of modules: use :meth:`variable`."""

    @property
    def generation(self) -> Generation: ...

    @property
    def usermodehelpers(self) -> Sequence[UserModeHelper]:
        """The helpers in flight, as the capture read them."""

    def has_module(self, *names: str) -> bool:
        """Whether any of these modules is loaded."""

    def has_symbol(self, name: str) -> bool:
        """Whether vmlinux has this symbol."""

    def variable(self, module: str, name: str, type_name: str) -> drgn.Object:
        """A variable of ``module`` (or of vmlinux, if that is built in) as an object of ``type_name``.

        :raises LookupError: if there is none
        """

    def find_task(self, pid: int) -> drgn.Object | None:
        """The ``struct task_struct *`` with a pid of the initial namespace, of the tasks that were captured."""

    def for_each_idr_entry(self, idr: drgn.Object, what: str, type_name: str) -> Iterator[drgn.Object]:
        """The pointers in a ``struct idr`` as objects of ``type_name``, bounded as :meth:`bounded` is.

        :raises ValueError: if it is damaged
        """

    def path_ref(self, path: drgn.Object) -> PathRef | None:
        """A ``struct path`` with text, filesystem and placement; ``None`` for an empty one."""

    def task_ref(self, task: drgn.Object) -> Reference:
        """A ``struct task_struct *`` as evidence."""

    def look_up(self, name: str, path: bytes) -> KernelSetting:
        """Look an absolute path up in the dcache, as the kernel would; ``name`` is what to call it."""

    def newer(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives, for facts that earlier versions did not read: ``None`` if a slice of theirs lacks them.

        :raises drgn.FaultError: if anything else lacks them
        """

    def bounded(self, items: Iterable[Any], what: str, limit: int = 100_000) -> Iterator[Any]:
        """The same items; more than ``limit`` end in an error entry for ``what``, and the rest is left out."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """One subsystem. Listing reads ``title`` and ``needs_*`` without importing the module: give literals."""

    name: str
    title: str
    facts: type[Facts]
    collect: Callable[[PluginKernel], Facts]
    """Reads the subsystem's state; called only when what it needs is there."""
    audit: Callable[[Snapshot, Any], Iterator[Finding]]
    """What is wrong, given the facts (an instance of ``facts``, state ``loaded``)."""
    needs_modules: tuple[str, ...] = ()
    """Any one of these must be loaded; empty: always there."""
    built_in: str = ""
    """A vmlinux symbol that shows that the modules are built in instead."""
    needs_symbols: tuple[str, ...] = ()
    """All of these must exist in vmlinux."""
    speaks_for: tuple[Speaks, ...] = ()
    expected: Mapping[Generation, Expectation] = field(default_factory=dict)
    borrows: tuple[Borrows, ...] = ()
    """Where this subsystem looks paths up as init: what traces of lookups are explained by."""

    def claims(self, task: Task, generation: Generation) -> bool:
        """Whether this plugin speaks for a kernel task and expects it where it is, by owner."""
        expectation = self.expected.get(generation)
        return (
            expectation is not None
            and task.owner in expectation.owners
            and any(speaks.matches(task) for speaks in self.speaks_for)
        )

    def finding(
        self, case: str, severity: Severity, title: str, evidence: list[Reference], *, means: str, do: str
    ) -> Finding:
        """A finding of this plugin; its rule id is ``NX-<NAME>-<CASE>``."""
        rule = f"{rule_prefix(self.name)}{case}"
        return Finding(
            rule=rule, severity=severity, title=title, evidence=evidence, explanation=means, advice=do
        )
