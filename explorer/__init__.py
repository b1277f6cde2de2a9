"""nullfs-explorer: where every task of a Linux kernel lives. What stands here is the library: docs/library.md.

Nothing of it is imported before it is asked for.
"""

from importlib import import_module
from typing import Any

from explorer.version import __version__ as __version__

#: Where a name comes from, if not from :mod:`explorer.library`: that room, called, captures.
_ROOMS = {"capture": "explorer.capture"}

__all__ = (
    "AuditReport",
    "Finding",
    "OpenKernel",
    "QueryError",
    "RecordingError",
    "Severity",
    "Snapshot",
    "SnapshotError",
    "TargetError",
    "Task",
    "audit",
    "capture",
    "load",
    "open_target",
    "query",
)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    library = import_module("explorer.library.asking")
    return import_module(_ROOMS[name]) if name in _ROOMS else getattr(library, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
