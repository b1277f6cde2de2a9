"""How plugins are imported: those that are installed, and files; what cannot be loaded costs only itself.

A stranger's module can do nothing but declare: it is imported in a copy of this process first (:mod:`.trial`), and one
that ends that, or does not come to an end, is not imported here. Here it is in a thread of its own: what it raises, be
it ``SystemExit`` or ``KeyboardInterrupt``, ends that thread alone.
"""

from __future__ import annotations

import ctypes
import importlib.util
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from explorer.caller import strangers_allowed

from .checking import checked, error_words
from .declare import Plugin, rule_prefix
from .sources import REFUSED, PluginListing, is_ours, list_plugins, plugin_points, plugin_sources, read_source
from .trial import try_imports

__all__ = ("IMPORT_S", "BrokenPlugin", "LoadedPlugins", "PluginSet", "load_plugins")

#: Seconds for the import of one plugin: an import of much else takes one or two.
IMPORT_S = 10.0


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
    strangers: set[str] = field(default_factory=set)
    """The names of those that did not come with this package."""
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

    def sources(self) -> Iterator[tuple[str, Path | None]]:
        """Each plugin's name and the file it is in, ``None`` where there is none; nothing is imported."""
        for listing, path in plugin_sources(self.files):
            yield listing.name, path

    @cached_property
    def has_strangers(self) -> bool:
        """Whether some did not come with this package, and would be imported; none is."""
        return strangers_allowed() and (
            bool(self.files) or not all(is_ours(point) for point in plugin_points()[0])
        )

    def name_of_rule(self, rule: str) -> str | None:
        """The plugin whose rule an id is, in whatever case; ``None``: of none of these."""
        return next(
            (each.name for each in self.listings if rule.upper().startswith(rule_prefix(each.name))), None
        )


def load_plugins(
    files: Sequence[Path] = (), *, strangers: bool = True, limit_s: float = IMPORT_S
) -> LoadedPlugins:
    """Import every installed plugin, and those in ``files``; one that does anything but declare costs only itself.

    In a process that is root for somebody else those that did not come with this package are not loaded, whoever asks:
    each is an error entry. Only :func:`explorer.caller.allow_strangers` changes that.

    :param strangers: ``False``: not in any other process either
    :param limit_s: seconds for the import of one
    """
    strangers = strangers and strangers_allowed()
    loaded = LoadedPlugins()
    points, broken = plugin_points()
    loaded.errors += [BrokenPlugin(name, why, "") for name, why in broken]
    others: list[tuple[str, Callable[[], Any]]] = []
    for point in points:
        if is_ours(point):
            _load(loaded, point.name, point.load)
        else:
            others.append((point.name, point.load))
    others += [(path.stem, partial(_import_file, path)) for path in files]
    refused = try_imports([call for _, call in others], limit_s) if strangers else {}
    for at, (name, call) in enumerate(others):
        if not strangers or at in refused:
            loaded.errors.append(BrokenPlugin(name, refused.get(at, REFUSED), ""))
        else:
            before = {plugin.name for plugin in loaded.plugins}
            _load(loaded, name, _Apart(call, limit_s))
            loaded.strangers |= {plugin.name for plugin in loaded.plugins} - before
    loaded.plugins.sort(key=lambda plugin: plugin.name)
    return loaded


def _load(loaded: LoadedPlugins, name: str, get: Callable[[], Any]) -> None:
    try:
        found = get()
        plugin = checked(found if isinstance(found, Plugin) else found.PLUGIN)
        if any(plugin.name == known.name for known in loaded.plugins):
            raise ValueError(f"there is a plugin {plugin.name} already")
    except Exception as error:  # noqa: BLE001  # a stranger's code: recorded with its traceback
        why = str(error) if isinstance(error, _ImportError) else error_words(error)
        loaded.errors.append(BrokenPlugin(name, why, traceback.format_exc()))
    else:
        loaded.plugins.append(plugin)


class _ImportError(Exception):
    """What the import of a stranger's module came to, in words."""


class _Apart:
    """A call in a thread of its own, for a time.

    :raises _ImportError: whatever the call raises, or if it takes longer
    """

    def __init__(self, call: Callable[[], Any], limit_s: float) -> None:
        self._call, self._limit_s = call, limit_s
        self._found: Any = None
        self._raised: BaseException | None = None

    def __call__(self) -> Any:
        thread = Thread(target=self._run, name="import of a plugin", daemon=True)
        thread.start()
        thread.join(self._limit_s)
        if thread.is_alive():
            # It is in no call of C's for ever, if this ends it; else it is left to the end of the process.
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit)
            )
            raise _ImportError(f"its import had not ended after {self._limit_s:g} s")
        if self._raised is not None:
            raise _ImportError(error_words(self._raised)) from self._raised
        return self._found

    def _run(self) -> None:
        try:
            self._found = self._call()
        except BaseException as error:  # noqa: BLE001  # a stranger's code: whatever it is, it is told by who waits
            self._raised = error


class _Loader(SourceFileLoader):
    """Reads a regular file alone, of a bounded size, and leaves no ``__pycache__`` beside it, nor reads one there:
    whoever reads a live kernel may be root."""

    def get_data(self, path: str) -> bytes:
        if path != self.path:
            raise FileNotFoundError(path)
        return read_source(Path(path))

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
