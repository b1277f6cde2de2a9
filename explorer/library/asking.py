"""What a script, a notebook or a test asks for: ``from explorer import open_target, capture, load, audit, query``.

Small, and promised to stay (docs/library.md): names and parameters are added to, never renamed. ``capture`` is beside
them in :mod:`explorer`; the classes here are what the functions take, give and raise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import Literal

from explorer.analysis import AuditReport, audit_with, run_audit, select_findings
from explorer.analysis.query import QueryError, parse_query
from explorer.codec import SnapshotError
from explorer.model import Finding, Severity, Snapshot, Task, use_tables
from explorer.plugin import PluginSet
from explorer.reading import SAVED, load_saved
from explorer.recording import RecordingError
from explorer.targets import OpenKernel, OpenOptions, TargetError, detect_target, open_kernel

from .columns import TaskTables

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
    "load",
    "open_target",
    "query",
)

use_tables(TaskTables())


def open_target(
    target: str | PathLike[str],
    *,
    symbols: Iterable[str | PathLike[str]] = (),
    types: Literal["btf", "dwarf"] | None = None,
    use_cache: bool = True,
    symbols_file: str | PathLike[str] | None = None,
) -> OpenKernel:
    """Open a kernel: close it, or use it in a ``with``. Its ``prog`` is a ``drgn.Program``.

    :param target: as on the command line: ``live``, ``sample``, ``qemu:SOCKET``, ``physmem:FILE``, a file
    :param symbols: a vmlinux with debug info (DWARF), and modules
    :param types: where types come from; ``None``: DWARF if there are symbols, else the kernel's own BTF
    :param use_cache: keep types and symbols for the next time
    :param symbols_file: the kernel's System.map, for a dump of one older than 6.0

    :raises TargetError: if it cannot be opened; the message is one line
    """
    options = OpenOptions(
        symbols=[Path(fspath(path)) for path in symbols],
        symbols_file=None if symbols_file is None else Path(fspath(symbols_file)),
        types=types,
        use_cache=use_cache,
    )
    return open_kernel(detect_target(fspath(target)), options)


def load(file: str | PathLike[str]) -> Snapshot:
    """A saved snapshot, or a frame of a recording (``FILE@3.4s``, ``FILE@#12``; the last one, if none is named).

    :raises TargetError: if the file cannot be read, or is neither
    :raises SnapshotError: if it is damaged, or of a newer version
    :raises RecordingError: the same of a recording
    """
    spec = detect_target(fspath(file))
    if spec.kind in SAVED:
        return load_saved(spec)[0]
    raise TargetError(f"{spec.text}: a kernel, or what was traced of one, not a saved snapshot: capture it")


def audit(
    snapshot: Snapshot, *, only: Collection[str] = (), where: str | None = None, plugins: bool = True
) -> AuditReport:
    """What is wrong: ``findings``, worst first; what could not be judged is in ``errors`` and ``not_judged``.

    :param only: rule ids; empty: all
    :param where: a query: findings about tasks that match
    :param plugins: let the plugins that are installed judge what they collected; those that did not come with this
        package do so in a copy of this process (fork), so that one that crashes is an entry in ``errors``

    :raises QueryError: if ``where`` is no query
    """
    query_ = None if where is None else parse_query(where)
    report = audit_with(PluginSet(), snapshot, only, apart=True) if plugins else run_audit(snapshot, (), only)
    if query_ is not None:
        selected = select_findings(report.findings, snapshot, query_.bind(snapshot))
        report.hidden = len(report.findings) - len(selected)
        report.findings = selected
    return report


def query(snapshot: Snapshot, where: str) -> list[Task]:
    """The tasks that match, by pid. :param where: a query, as in docs/queries.md. :raises QueryError: if it is none"""
    return list(filter(parse_query(where).bind(snapshot), snapshot.tasks))
