"""Run the capture half of the plugins: each gets the kernel, and gives its facts or is an error entry."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import drgn

from explorer.capture.memory import ErrorLog, ReadError
from explorer.capture.paths import PathRefs
from explorer.model import Generation, KernelSetting, PathRef, Reference, UserModeHelper, kernel_text, made
from explorer.plugin import Facts, Plugin, error_words
from explorer.targets.symbols import KernelTypes, for_each_idr_entry

__all__ = ("PluginContext", "PluginRun", "run_plugins")

T = TypeVar("T")
_reference = made(Reference)
_NOT_LOADED = {"state": "not loaded"}
#: Of all lists of all plugins together: lists within lists, in a dump made for it, have no other end.
_MAX_ITEMS = 250_000


@dataclass(slots=True)
class PluginRun:
    """What came of the plugins."""

    facts: dict[str, Any] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)


class PathLookup(Protocol):
    """Looks absolute paths up as the kernel would, and from PID 1's root where that is another."""

    def look_up(self, name: str, path: bytes) -> KernelSetting: ...


class PluginContext:
    """The open kernel as a plugin sees it: :class:`explorer.plugin.PluginKernel`."""

    def __init__(
        self,
        prog: drgn.Program,
        types: KernelTypes,
        generation: Generation,
        builder: PathRefs,
        lookup: PathLookup | None,
        errors: ErrorLog,
        tasks: Mapping[int, int],
    ) -> None:
        self.prog = prog
        self.generation = generation
        self.plugin = ""
        self.begins: Callable[[str], None] = lambda plugin: None
        """Told which plugin is about to run."""
        self._types = types
        self._builder = builder
        self._lookup = lookup
        self._errors = errors
        self._tasks = tasks
        self.usermodehelpers: Sequence[UserModeHelper] = ()
        self._items = 0
        self._modules = {module.name: module for module in types.modules.modules()}

    def has_module(self, *names: str) -> bool:
        """Whether any of these modules is loaded."""
        return any(name in self._modules for name in names)

    def has_symbol(self, name: str) -> bool:
        """Whether vmlinux has this symbol."""
        return self._types.has_symbol(name)

    def variable(self, module: str, name: str, type_name: str) -> drgn.Object:
        """A variable of a module, or of vmlinux where that is built in, as an object of ``type_name``."""
        address = self._variable_address(module, name)
        return drgn.Object(self.prog, self.prog.type(type_name), address=address)

    def _variable_address(self, module: str, name: str) -> int:
        loaded = self._modules.get(module)
        if loaded is not None:
            for symbol in self._types.modules.symbols(loaded):
                if symbol.name == name:
                    return int(symbol.address)
            raise LookupError(f"module {module} has no variable {name}")
        address = self._types.symbol_address(name)
        if address is None:
            raise LookupError(f"neither a module {module} nor vmlinux has a variable {name}")
        return address

    def find_task(self, pid: int) -> drgn.Object | None:
        """A ``struct task_struct *``, by its pid in the initial namespace."""
        address = self._tasks.get(pid)
        return None if address is None else drgn.Object(self.prog, "struct task_struct *", address)

    def for_each_idr_entry(self, idr: drgn.Object, what: str, type_name: str) -> Iterator[drgn.Object]:
        """The pointers in a ``struct idr``."""
        for entry in self.bounded(for_each_idr_entry(idr), what):
            yield drgn.Object(self.prog, type_name, entry)

    def path_ref(self, path: drgn.Object) -> PathRef | None:
        """A ``struct path``; ``None`` for an empty one. Large modules have their own copy of the type."""
        mnt, dentry = path.mnt.value_(), path.dentry.value_()
        if not mnt:
            return None
        return self._builder.path_ref(f"plugin {self.plugin}", mnt, dentry)

    def task_ref(self, task: drgn.Object) -> Reference:
        """A ``struct task_struct *``."""
        comm = kernel_text(task.comm.string_())
        return _reference(kind="task", address=task.value_(), label=f"{comm} ({task.pid.value_()})")

    def look_up(self, name: str, path: bytes) -> KernelSetting:
        """An absolute path, in the dcache as the kernel would look it up."""
        if self._lookup is None:
            raise LookupError("paths cannot be looked up in this kernel")
        return self._lookup.look_up(name, path)

    def newer(self, read: Callable[[], T]) -> T | None:
        """What ``read`` gives; ``None``, and counted, if a slice of an earlier version lacks it."""
        try:
            return read()
        except drgn.FaultError:
            if not self._errors.is_slice:
                raise
            self._errors.not_in_slice += 1
            return None

    def bounded(self, items: Iterable[Any], what: str, limit: int = 100_000) -> Iterator[Any]:
        """At most ``limit`` of the items, and as many as all plugins together may still look at."""
        for count, item in enumerate(items):
            if count >= limit or self._items >= _MAX_ITEMS:
                many = f"more than {limit}" if count >= limit else f"more than {_MAX_ITEMS} in all plugins"
                self._errors.add(f"plugin {self.plugin}", what, f"{many}: the rest is left out")
                return
            self._items += 1
            yield item


def run_plugins(plugins: Sequence[Plugin], context: PluginContext, errors: ErrorLog) -> PluginRun:
    """The facts of every plugin by name. One that raises is ``{"state": "failed"}`` and an error entry."""
    run = PluginRun()
    for plugin in plugins:
        context.plugin = plugin.name
        if not _is_there(plugin, context):
            run.facts[plugin.name] = dict(_NOT_LOADED)
            continue
        context.begins(plugin.name)
        try:
            facts = plugin.collect(context)
            if not isinstance(facts, Facts):
                raise TypeError(f"collect() gave a {type(facts).__name__}, not Facts")
            run.facts[plugin.name] = facts.model_dump(mode="json")
        except (drgn.FaultError, ReadError) as error:
            _failed(run, plugin, errors, str(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # a stranger's code, sys.exit() too: recorded with its traceback
            _failed(run, plugin, errors, error_words(error))
    return run


def _is_there(plugin: Plugin, context: PluginContext) -> bool:
    if plugin.needs_modules and not context.has_module(*plugin.needs_modules):
        return bool(plugin.built_in) and context.has_symbol(plugin.built_in)
    return all(context.has_symbol(symbol) for symbol in plugin.needs_symbols)


def _failed(run: PluginRun, plugin: Plugin, errors: ErrorLog, why: str) -> None:
    errors.add(f"plugin {plugin.name}", "collect", why)
    run.facts[plugin.name] = {"state": "failed"}
    run.tracebacks.append(traceback.format_exc())
