"""What a plugin is: one kernel subsystem that does filesystem work from kernel context.

A plugin is a module with two halves that never meet except through data: ``collect`` runs at capture time and reads
the kernel with drgn; ``audit`` is pure and runs on any snapshot, anywhere. A module assigns one :class:`Plugin` to
``PLUGIN``. It imports drgn only inside ``collect`` (and under ``TYPE_CHECKING``), so that audits need no drgn.
"""

from __future__ import annotations

import ast
import importlib.util
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from explorer.caller import strangers_allowed
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
)

if TYPE_CHECKING:
    import drgn

__all__ = (
    "GROUP",
    "BrokenPlugin",
    "Expectation",
    "Facts",
    "KernelWord",
    "LoadedPlugins",
    "Plugin",
    "PluginKernel",
    "PluginListing",
    "PluginSet",
    "Speaks",
    "list_plugins",
    "load_plugins",
    "rule_prefix",
)

#: The entry-point group in which plugins are found; the built-in ones are registered in it like a stranger's.
GROUP = "explorer.plugins"
_DISTRIBUTION = "nullfs-explorer"
_REFUSED = "not loaded as root for another user: say --allow-plugins-as-root, if you trust it"
_LISTED = ("title", "needs_modules", "needs_symbols")


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


class PluginKernel(Protocol):
    """The open kernel as ``collect`` sees it. Everything may raise ``drgn.FaultError`` or ``LookupError``."""

    @property
    def prog(self) -> drgn.Program:
        """drgn's program. BTF has no types for variables of modules: use :meth:`variable`."""

    @property
    def generation(self) -> Generation: ...

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
        """Look an absolute path up in the dcache from init's root; ``name`` is what to call it."""

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


@dataclass(frozen=True, slots=True)
class PluginListing:
    """A plugin as its source declares it, without running it."""

    name: str
    origin: str
    """The module or file it is in."""
    title: str | None
    """``None`` where the source could not be read: it may still load."""
    needs_modules: tuple[str, ...] = ()
    needs_symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A plugin that could not be loaded."""

    name: str
    why: str
    traceback: str


@dataclass(slots=True)
class LoadedPlugins:
    """What could be loaded, by name, and what could not."""

    plugins: list[Plugin] = field(default_factory=list)
    errors: list[BrokenPlugin] = field(default_factory=list)


class PluginSet:
    """The plugins that somebody wants: those that are installed, and files. A command makes one, and hands it on.

    Nothing is imported before :attr:`loaded` is asked for, and that once: by then the rights of root may be gone.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self.files = tuple(files)
        self._lock = Lock()
        self._loaded: LoadedPlugins | None = None

    @property
    def loaded(self) -> LoadedPlugins:
        """What could be imported, and what could not; from any thread."""
        with self._lock:
            if self._loaded is None:
                self._loaded = load_plugins(self.files)
            return self._loaded

    @property
    def plugins(self) -> list[Plugin]:
        return self.loaded.plugins

    @cached_property
    def listings(self) -> list[PluginListing]:
        """All of them as their sources declare them: nothing is imported."""
        return list_plugins(self.files)

    def name_of_rule(self, rule: str) -> str | None:
        """The plugin whose rule an id is, in whatever case; ``None``: of none of these."""
        return next(
            (each.name for each in self.listings if rule.upper().startswith(rule_prefix(each.name))), None
        )


def list_plugins(files: Sequence[Path] = ()) -> list[PluginListing]:
    """All plugins by name, read from their sources: nothing is imported, so a broken one is listed too."""
    found = [_list_source(point.name, point.value, _source_of(point)) for point in _entry_points()]
    found += [_list_source(path.stem, str(path), path) for path in files]
    return sorted(found, key=lambda listing: listing.name)


def load_plugins(files: Sequence[Path] = (), *, strangers: bool = True) -> LoadedPlugins:
    """Import every installed plugin, and those in ``files``; one that raises costs only itself.

    In a process that is root for somebody else those that did not come with this package are not loaded, whoever asks:
    each is an error entry. Only :func:`explorer.caller.allow_strangers` changes that.

    :param strangers: ``False``: not in any other process either
    """
    strangers = strangers and strangers_allowed()
    loaded = LoadedPlugins()
    for point in _entry_points():
        if strangers or _is_ours(point):
            _load(loaded, point.name, lambda point=point: point.load())  # type: ignore[misc]
        else:
            loaded.errors.append(BrokenPlugin(point.name, _REFUSED, ""))
    for path in files:
        if strangers:
            _load(loaded, path.stem, lambda path=path: _import_file(path))  # type: ignore[misc]
        else:
            loaded.errors.append(BrokenPlugin(path.stem, _REFUSED, ""))
    loaded.plugins.sort(key=lambda plugin: plugin.name)
    return loaded


def _is_ours(point: EntryPoint) -> bool:
    """Whether it is in this package, and registered by the distribution that this package came in."""
    registered = None if point.dist is None else point.dist.metadata["Name"]
    return registered == _DISTRIBUTION and point.module.startswith("explorer.plugins.")


def _entry_points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _load(loaded: LoadedPlugins, name: str, get: Callable[[], Any]) -> None:
    try:
        found = get()
        plugin = found if isinstance(found, Plugin) else found.PLUGIN
        if not isinstance(plugin, Plugin):
            raise TypeError(f"PLUGIN is a {type(plugin).__name__}, not a Plugin")
        if any(plugin.name == known.name for known in loaded.plugins):
            raise ValueError(f"there is a plugin {plugin.name} already")
    except Exception as error:  # noqa: BLE001  # a stranger's code: recorded with its traceback
        why = f"{type(error).__name__}: {error}"
        loaded.errors.append(BrokenPlugin(name, why, traceback.format_exc()))
    else:
        loaded.plugins.append(plugin)


class _Loader(SourceFileLoader):
    """Leaves no ``__pycache__`` beside somebody's file: whoever reads a live kernel may be root."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass


def _import_file(path: Path) -> Any:
    name = f"nullfs_explorer_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _source_of(point: EntryPoint) -> Path | None:
    """The file an entry point's module is in, found without importing it or its package's other modules."""
    spec = None
    try:
        spec = importlib.util.find_spec(point.module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _list_source(name: str, origin: str, path: Path | None) -> PluginListing:
    """Read the literals of ``PLUGIN = Plugin(...)``."""
    if path is None:
        return PluginListing(name, origin, None)
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return PluginListing(name, origin, None)
    values: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if not any(isinstance(target, ast.Name) and target.id == "PLUGIN" for target in node.targets):
                continue
            for keyword in node.value.keywords:
                if keyword.arg in (*_LISTED, "name"):
                    values[keyword.arg] = _literal(keyword.value)
    return PluginListing(
        name=values.get("name") or name,
        origin=origin,
        title=values.get("title"),
        needs_modules=tuple(values.get("needs_modules") or ()),
        needs_symbols=tuple(values.get("needs_symbols") or ()),
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
