"""Fleets for tests: datasets of snapshots, with the rows that ``fleet run`` makes of them, and no processes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from explorer import __version__
from explorer.analysis import AuditReport, audit_with
from explorer.codec import load_snapshot, write_json
from explorer.compression import method_of_name
from explorer.fleet import TABLES, Outcome, arrow_schema
from explorer.fleet.manifest import MANIFEST, Manifest
from explorer.fleet.running.rows import snapshot_tables
from explorer.model import Snapshot, escape_text
from explorer.plugin import PluginSet

__all__ = ("audit_of", "fleet_key", "pages_fleets", "write_fleet")


def fleet_key(name: str) -> str:
    """The key of a target of :func:`write_fleet`: by its name, where the real one is by its content."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def audit_of(snapshot: Snapshot) -> AuditReport:
    """What ``audit`` finds in it."""
    return audit_with(PluginSet(), snapshot)


def write_fleet(
    path: Path,
    snapshots: Mapping[str, Snapshot],
    unread: Sequence[tuple[str, Outcome, str]] = (),
    keep: bool = False,
    parts: int = 1,
) -> Path:
    """Write a dataset.

    :param snapshots: by the name of their file
    :param unread: targets that could not be read: name, outcome, why
    :param keep: keep the snapshots beside it
    :param parts: files that the rows of a table are divided between
    """
    path.mkdir()
    (path / MANIFEST).write_text(Manifest(tool_version=__version__).text())
    rows: list[dict[str, list[dict[str, Any]]]] = []
    for name, snapshot in snapshots.items():
        rows.append(_rows(name, snapshot, keep))
        if keep:
            _keep(path / "snapshots" / f"{fleet_key(name)}.json.zst", snapshot)
    for name, outcome, why in unread:
        told = {"key": fleet_key(name), "path": escape_text(name), "outcome": outcome.value, "why": why}
        rows.append({table: [told] if table == "targets" else [] for table in TABLES})
    for table in TABLES:
        (path / table).mkdir()
        for part in range(parts):
            mine = [row for each in rows[part::parts] for row in each[table]]
            pq.write_table(
                pa.Table.from_pylist(mine, arrow_schema(table)), path / table / f"{part + 1:08d}.parquet"
            )
    return path


def _rows(name: str, snapshot: Snapshot, keep: bool) -> dict[str, list[dict[str, Any]]]:
    found = {}
    for table, columns in snapshot_tables(snapshot, audit_of(snapshot)).items():
        number = len(next(iter(columns.values())))
        found[table] = [
            {"key": fleet_key(name), **{column: values[at] for column, values in columns.items()}}
            for at in range(number)
        ]
    missing = len(snapshot.errors)
    found["targets"][0] |= {
        "path": escape_text(name),
        "kind": "snapshot",
        "outcome": (Outcome.PARTIAL if missing else Outcome.OK).value,
        "why": f"{missing} values could not be read" if missing else None,
        "tool_version": __version__,
        "snapshot": f"snapshots/{fleet_key(name)}.json.zst" if keep else None,
    }
    return found


def _keep(path: Path, snapshot: Snapshot) -> None:
    path.parent.mkdir(exist_ok=True)
    method = method_of_name(path.name)
    assert method is not None
    with path.open("wb") as file, method.writer(file) as out:
        write_json(snapshot, out)


def pages_fleets(directory: Path) -> None:
    """The fleets that the pages of the documentation show: ``FLEET``, and ``BEFORE``, a build earlier."""
    root = Path(__file__).parent.parent / "screenshots"
    healthy, abandoned = (load_snapshot(root / f"{name}.json.zst") for name in ("healthy", "abandoned"))
    unread = [("boots/arm.elf", Outcome.CANNOT_OPEN, "the file is empty")]
    write_fleet(
        directory / "FLEET",
        {f"boots/{name}.elf": healthy for name in ("debug", "kasan", "minimal")}
        | {"boots/unshare.elf": abandoned},
        unread,
    )
    before = {f"boots/{name}.elf": healthy for name in ("debug", "kasan", "unshare")}
    write_fleet(directory / "BEFORE", before, unread)
