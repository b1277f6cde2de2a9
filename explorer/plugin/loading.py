"""How plugins are found, and imported: those that are installed, and files; what cannot be loaded costs only itself."""

from __future__ import annotations

import ast
import importlib.util
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.machinery import SourceFileLoader
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from threading import Lock
from typing import Any

from explorer.caller import strangers_allowed

from .declare import Plugin, rule_prefix

__all__ = (
    "GROUP",
    "BrokenPlugin",
    "LoadedPlugins",
    "PluginListing",
    "PluginSet",
    "list_plugins",
    "load_plugins",
)

#: The entry-point group in which plugins are found; the built-in ones are registered in it like a stranger's.
GROUP = "explorer.plugins"
_DISTRIBUTION = "nullfs-explorer"
_REFUSED = "not loaded as root for another user: say --allow-plugins-as-root, if you trust it"
_LISTED = ("title", "needs_modules", "needs_symbols")


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

    def sources(self) -> Iterator[tuple[str, Path | None]]:
        """Each plugin's name and the file it is in, ``None`` where there is none; nothing is imported."""
        for point in _entry_points():
            path = _source_of(point)
            yield _list_source(point.name, point.value, path).name, path
        for path in self.files:
            yield _list_source(path.stem, str(path), path).name, path

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


def parse_source(path: Path) -> ast.Module | None:
    """The source of a file, which may be anything; ``None`` if it cannot be read, or is no Python."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):  # the last two: nested too deeply
        return None


def _list_source(name: str, origin: str, path: Path | None) -> PluginListing:
    """Read the literals of ``PLUGIN = Plugin(...)``."""
    tree = None if path is None else parse_source(path)
    if tree is None:
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
        name=_word(values.get("name")) or name,
        origin=origin,
        title=_word(values.get("title")),
        needs_modules=_words(values.get("needs_modules")),
        needs_symbols=_words(values.get("needs_symbols")),
    )


def _word(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _words(value: object) -> tuple[str, ...]:
    """A source may say anything: what is no list of words is none."""
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, tuple | list) else ()


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
