"""Where plugins are, and what their sources declare: nothing of them is imported, nor is a package that they are in.

``importlib.util.find_spec()`` imports the parents of what it looks for. Here the file of an entry point is told from
the list of files that its distribution came with. In a process that is root for somebody else only the files of our own
are looked at.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import Any

from explorer.caller import strangers_allowed
from explorer.files import NotRegularError, open_regular

__all__ = (
    "GROUP",
    "MAX_SOURCE",
    "REFUSED",
    "PluginListing",
    "UnreadableSourceError",
    "is_ours",
    "list_plugins",
    "parse_source",
    "plugin_points",
    "plugin_sources",
    "read_source",
)

#: The entry-point group in which plugins are found; the built-in ones are registered in it like a stranger's.
GROUP = "explorer.plugins"
#: Bytes of a source: ours have 15,000 at most.
MAX_SOURCE = 1 << 20
REFUSED = "not loaded as root for another user: say --allow-plugins-as-root, if you trust it"
_DISTRIBUTION = "nullfs-explorer"
_OURS = "explorer.plugins."
_LISTED = ("title", "needs_modules", "needs_symbols")
_MAX_WORD = 200


class UnreadableSourceError(Exception):
    """The source of a plugin cannot be read; the message says why."""


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
    problem: str | None = None
    """Why the source could not be read, or says nothing of the kind."""


def list_plugins(files: Sequence[Path] = ()) -> list[PluginListing]:
    """All plugins by name, read from their sources: nothing is imported, so a broken one is listed too."""
    found = [listing for listing, _ in plugin_sources(files)]
    return sorted(found, key=lambda listing: listing.name)


def plugin_sources(files: Sequence[Path] = ()) -> Iterator[tuple[PluginListing, Path | None]]:
    """Each plugin, installed or in one of ``files``, and the file it is in; ``None`` where there is none to be read."""
    points, broken = plugin_points()
    for name, why in broken:
        yield PluginListing(name, name, None, problem=why), None
    for point in points:
        yield _listed(point.name, point.value, lambda point=point: _file_of(point), is_ours(point))  # type: ignore[misc]
    for path in files:
        yield _listed(path.stem, str(path), lambda path=path: path, False)  # type: ignore[misc]


def plugin_points() -> tuple[list[EntryPoint], list[tuple[str, str]]]:
    """The entry points of all that is installed, by name; and each distribution that damages its own, with why."""
    broken = []
    try:
        points = list(entry_points(group=GROUP))
    except Exception:  # noqa: BLE001  # one distribution's file, whatever it is: which one, is found out below
        points = []
        seen = set()
        for distribution in distributions():
            name = _name_of(distribution)
            if name in seen:  # one that is hidden by another, earlier on the path
                continue
            seen.add(name)
            try:
                points += distribution.entry_points.select(group=GROUP)
            except Exception as error:  # noqa: BLE001  # a stranger's file: told as what it is
                broken.append((name, f"its entry points cannot be read: {type(error).__name__}: {error}"))
    return sorted(points, key=lambda point: point.name), broken


@cache
def _name_in_metadata(distribution: Distribution) -> str | None:
    """Asked for each of its plugins: all of its metadata, a long text, is read for that."""
    return distribution.metadata["Name"]


def _name_of(distribution: Distribution) -> str:
    return str(_name_in_metadata(distribution) or "a distribution without a name")


def is_ours(point: EntryPoint) -> bool:
    """Whether it is in this package, and registered by the distribution that this package came in."""
    registered = None if point.dist is None else _name_in_metadata(point.dist)
    return registered == _DISTRIBUTION and _module_of(point).startswith(_OURS)


def _module_of(point: EntryPoint) -> str:
    """``""`` for what names none."""
    return point.value.partition(":")[0].partition("[")[0].strip()


def _file_of(point: EntryPoint) -> Path:
    """The file an entry point's module is in, as its distribution lists it.

    :raises UnreadableSourceError: if it does not
    """
    module = _module_of(point)
    if is_ours(point):
        return Path(__file__).parents[1] / "plugins" / f"{module.removeprefix(_OURS)}.py"
    parts = module.split(".")
    if point.dist is None or not all(part.isidentifier() for part in parts):
        raise UnreadableSourceError(f"{point.value} names no module")
    wanted = (os.path.join(*parts) + ".py", os.path.join(*parts, "__init__.py"))  # noqa: PTH118  # names, not paths
    for file in point.dist.files or ():
        if str(file) in wanted:
            return Path(str(file.locate()))
    raise UnreadableSourceError("its distribution lists no such file")


def _listed(
    name: str, origin: str, find: Callable[[], Path], ours: bool
) -> tuple[PluginListing, Path | None]:
    if not ours and not strangers_allowed():
        return PluginListing(name, origin, None, problem=REFUSED), None
    try:
        path = find()
        return _list_source(name, origin, parse_source(path)), path
    except UnreadableSourceError as error:
        return PluginListing(name, origin, None, problem=str(error)), None
    except Exception as error:  # noqa: BLE001  # a stranger's list of files, or source: it costs only itself
        return PluginListing(name, origin, None, problem=f"{type(error).__name__}: {error}"), None


def read_source(path: Path) -> bytes:
    """A file that may be anything: a pipe, a device, a terabyte.

    :raises UnreadableSourceError: if it is no regular file of at most :data:`MAX_SOURCE` bytes
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            source = file.read(MAX_SOURCE + 1)
    except NotRegularError as error:
        raise UnreadableSourceError(f"{path} is {error}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise UnreadableSourceError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(source) > MAX_SOURCE:
        raise UnreadableSourceError(f"{path} has more than {MAX_SOURCE >> 20} MiB: no plugin's source has")
    return source


def parse_source(path: Path) -> ast.Module:
    """The source of a file. :raises UnreadableSourceError: if it cannot be read, or is no Python"""
    source = read_source(path)
    try:
        return ast.parse(source)
    except SyntaxError as error:
        where = "" if error.lineno is None else f", line {error.lineno}"
        raise UnreadableSourceError(f"it is no Python{where}: {error.msg}") from error
    except (RecursionError, MemoryError) as error:
        raise UnreadableSourceError("it is no Python that can be read: nested too deeply") from error
    except (ValueError, LookupError) as error:  # a NUL, an encoding that is none
        raise UnreadableSourceError(f"it is no Python: {error}") from error


def _list_source(name: str, origin: str, tree: ast.Module) -> PluginListing:
    """Read the literals of ``PLUGIN = Plugin(...)``."""
    values: dict[str, Any] = {}
    declared = False
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            if not any(isinstance(target, ast.Name) and target.id == "PLUGIN" for target in node.targets):
                continue
            declared = True
            for keyword in node.value.keywords:
                if keyword.arg in (*_LISTED, "name"):
                    values[keyword.arg] = _literal(keyword.value)
    title = _word(values.get("title"))
    problem = None
    if title is None:
        problem = "its title is no literal" if declared else "it has no PLUGIN = Plugin(...)"
    return PluginListing(
        name=_word(values.get("name")) or name,
        origin=origin,
        title=title,
        needs_modules=_words(values.get("needs_modules")),
        needs_symbols=_words(values.get("needs_symbols")),
        problem=problem,
    )


def _word(value: object) -> str | None:
    return value[:_MAX_WORD] if isinstance(value, str) else None


def _words(value: object) -> tuple[str, ...]:
    """A source may say anything: what is no list of words is none."""
    if not isinstance(value, tuple | list):
        return ()
    return tuple(each[:_MAX_WORD] for each in value if isinstance(each, str))


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return None
