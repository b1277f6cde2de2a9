"""Reads and judges one target, in a process that does nothing else: whatever becomes of it, nothing else is lost.

As the single command does it: guarded against a crash of libdrgn (:mod:`explorer.targets.crash`), without root's
rights once the target is open.
"""

from __future__ import annotations

import io
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from explorer.analysis import audit_with, lost_tasks
from explorer.capture import capture_kernel
from explorer.codec import SnapshotError, write_json
from explorer.compression import method_of_name
from explorer.fleet.outcomes import Outcome
from explorer.model import Snapshot
from explorer.plugin import PluginSet
from explorer.reading import SAVED, load_saved
from explorer.recording import RecordingError
from explorer.targets import (
    CrashGuard,
    OpenOptions,
    ReaderCrashedError,
    TargetError,
    TargetSpec,
    detect_target,
    fork_reader,
    harden_process,
    hold_target,
    keep_only,
    open_kernel,
)

from .requests import Answer, Request
from .rows import snapshot_tables

__all__ = ("read_target",)

_KINDS = {"sample": "vmcore", "physmem": "vmcore"}
_SUFFIX = ".zst"


def read_target(request: Request, out: BinaryIO, kept: BinaryIO) -> None:
    """Read one target, and write what is to be said of it as JSON. Returns in more than one process: end it then.

    :param kept: takes the snapshot as a compressed file, if it is to be kept
    """
    harden_process()
    _limit_memory(request.options.memory)
    guards: list[CrashGuard] = []
    try:
        answer = _read(request, kept, guards.append)
    except ReaderCrashedError as error:
        answer = Answer(Outcome.CRASHED, str(error), signal=error.signal, kind="vmcore")
    except (TargetError, SnapshotError, RecordingError) as error:
        short = isinstance(error.__cause__, MemoryError)
        answer = Answer(Outcome.MEMORY if short else Outcome.CANNOT_OPEN, str(error))
    except MemoryError:
        answer = Answer(Outcome.MEMORY, "it took more memory than it may")
    except Exception as error:  # noqa: BLE001  # recorded in the target's row
        answer = Answer(Outcome.FAULT, f"{type(error).__name__}: {error}")
    said = {name: getattr(answer, name) for name in ("outcome", "why", "signal", "kind", "tables")}
    out.seek(0)  # who crashed may have begun
    out.truncate()
    out.write(json.dumps(said).encode())
    out.flush()
    for guard in guards:
        guard.ends(0)


def _limit_memory(most: int | None) -> None:
    if most is None:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // max(1, os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _read(request: Request, kept: BinaryIO, guarded: Callable[[CrashGuard], None]) -> Answer:
    """:param guarded: is called in a process that must say when it ends"""
    spec = detect_target(request.name)
    kind = _KINDS.get(spec.kind, spec.kind)
    if spec.kind == "trace":
        raise TargetError(f"{spec.text}: a trace of lookups, which is no target of a fleet")
    plugins = PluginSet(map(Path, request.options.plugins))
    guard = CrashGuard()
    if spec.kind in SAVED:
        keep_only(hold_target(spec, OpenOptions()))
        snapshot, _ = load_saved(spec)
    else:
        guard = fork_reader(spec.text)
        guarded(guard)
        guard.begin()
        snapshot = _capture(spec, request, plugins, guard)
    report = audit_with(plugins, snapshot)
    if request.options.keep_snapshots:
        _keep(snapshot, kept)
    why = _why_partial(snapshot, [error.why for error in report.errors])
    outcome = Outcome.OK if why is None else Outcome.PARTIAL
    return Answer(outcome, why, guard.crashed, kind, snapshot_tables(snapshot, report))


def _capture(spec: TargetSpec, request: Request, plugins: PluginSet, guard: CrashGuard) -> Snapshot:
    try:
        assert spec.path is not None
        options = OpenOptions(use_cache=request.options.cache)
        keep_only(hold_target(spec, options))
        with open_kernel(spec, options) as kernel:
            guard.doing("it loaded the plugins")
            return capture_kernel(kernel, plugins.loaded, guard=guard)
    finally:
        guard.release()


def _why_partial(snapshot: Snapshot, audit: list[str]) -> str | None:
    """Why ``audit`` could not have said that nothing is wrong; ``None``: it could."""
    lost, errors = lost_tasks(snapshot), snapshot.errors
    if lost is not None:
        return f"tasks are missing: {lost}"
    if errors:
        first = errors[0]
        return f"{len(errors)} values could not be read; the first: {first.where}: {first.what}: {first.why}"
    return f"plugins could not judge: {audit[0]}" if audit else None


def _keep(snapshot: Snapshot, kept: BinaryIO) -> None:
    method = method_of_name(_SUFFIX)
    assert method is not None
    with method.writer(kept) as packed:
        plain = io.BytesIO()
        write_json(snapshot, plain)
        packed.write(plain.getbuffer())
    kept.flush()
