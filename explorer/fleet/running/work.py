"""What Dask's workers run: a candidate is examined, a target is read and becomes a row and what belongs to it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer.files import NotRegularError, open_regular
from explorer.fleet.errors import FleetError
from explorer.fleet.needed import need
from explorer.fleet.outcomes import OPENED, Outcome
from explorer.fleet.tables import COLUMNS, TABLES, arrow_schema
from explorer.targets.dumps import COMPRESSED, DUMPS, Format, sniff
from explorer.version import __version__

from .digest import content_key, path_key
from .finding import Candidate, file_of, looks_like_target
from .readers import reader_of_thread
from .requests import Answer, Examined, ReadingOptions, Request, Result, Told
from .rows import text

__all__ = ("examine", "failed_result", "read", "result_of")

_HEAD = 4096
_TARGETS = COMPRESSED | DUMPS | {Format.SNAPSHOT, Format.RECORDING}


def _check(version: str) -> None:
    """:raises FleetError: if this worker is of another version than whoever asks"""
    if version != __version__:
        raise FleetError(
            f"a worker has nullfs-explorer {__version__}, and this is {version}: install the same"
        )


def examine(candidates: Sequence[Candidate], version: str) -> list[Examined]:
    """Which of these are targets, and their keys."""
    _check(version)
    return [_examine(candidate) for candidate in candidates]


def _examine(candidate: Candidate) -> Examined:
    path, moment = file_of(candidate.name)
    key, size, head = "", 0, b""
    # Whoever is to read what cannot be opened says why not, in words.
    with contextlib.suppress(OSError, NotRegularError), os.fdopen(open_regular(Path(path)), "rb") as file:
        head = os.pread(file.fileno(), _HEAD, 0)
        key, size = content_key(file, moment)
    is_target = candidate.named or sniff(head) in _TARGETS or looks_like_target(path)
    key = key or path_key(candidate.name)
    return Examined(candidate.name, candidate.word, candidate.named, key if is_target else None, size)


def read(targets: Sequence[Examined], options: ReadingOptions, version: str) -> Result:
    """Read so many targets, one after the other. Whatever becomes of one is its row."""
    _check(version)
    reader = reader_of_thread()
    return _together([result_of(each, reader.read(Request(each.name, options))) for each in targets])


def _together(results: list[Result]) -> Result:
    if len(results) == 1:
        return results[0]
    pa = need("pyarrow")
    with_rows = [result.tables for result in results if result.tables]
    tables = (
        {name: pa.concat_tables([each[name] for each in with_rows]).combine_chunks() for name in TABLES}
        if with_rows
        else {}
    )
    return Result([told for result in results for told in result.targets], tables)


def failed_result(examined: Examined, why: str) -> Result:
    """The row of a target that took its workers with it."""
    return result_of(examined, Answer(Outcome.CRASHED, why))


def result_of(examined: Examined, answer: Answer) -> Result:
    """A target's row, and what belongs to it, as tables."""
    key = examined.key
    assert key is not None
    is_stray = answer.outcome is Outcome.CANNOT_OPEN and answer.kind is None
    if is_stray and not examined.named and not looks_like_target(examined.name):
        return Result([Told(key, None, answer.seconds)], {})
    kept = f"snapshots/{key}.json.zst" if answer.snapshot is not None else None
    row: dict[str, list[Any]] = {
        "path": [text(examined.name)],
        "target": [text(examined.word)],
        "kind": [answer.kind],
        "bytes": [examined.size],
        "outcome": [answer.outcome.value],
        "why": [text(answer.why)],
        "signal": [answer.signal],
        "tool_version": [__version__],
        "analysed_at": [time.time_ns() // 1000],
        "analysed_on": [text(os.uname().nodename)],
        "seconds": [answer.seconds],
        "cpu_seconds": [answer.cpu_seconds],
        "peak_bytes": [answer.peak_bytes],
        "snapshot": [kept],
    }
    said = dict(answer.tables) if answer.outcome in OPENED else {}
    said["targets"] = said.get("targets", {}) | row
    tables = {name: _table(name, key, said.get(name, {})) for name in TABLES}
    return Result([Told(key, answer.outcome, answer.seconds, answer.snapshot)], tables)


def _table(name: str, key: str, columns: dict[str, list[Any]]) -> Any:
    """The columns as a ``pyarrow.Table``; those that are not there are null."""
    pa = need("pyarrow")
    schema = arrow_schema(name)
    rows = len(next(iter(columns.values()), []))
    filled = {column.name: columns.get(column.name) or [None] * rows for column in COLUMNS[name]}
    filled["key"] = [key] * rows
    return pa.Table.from_pydict(filled, schema)
