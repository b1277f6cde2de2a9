"""Fleets for tests and the bench: many targets made of the fixtures, by changing what makes a target.

Each differs from all others in build id, host and times; some have a fault: PID 1 has left ``userspace_init_fs``, a
value is missing, a task borrows.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import zstandard
from click.testing import CliRunner

from explorer.analysis.query import CSV_FACTS, QueryField
from explorer.analysis.query.facts import FACTS
from explorer.cli.command import cli
from explorer.fleet import Dataset, query_column
from explorer.model import Snapshot, escape_text

from .conftest import FIXTURES

__all__ = ("change_snapshot", "make_slices", "make_snapshots", "told_otherwise")

#: A name of a task in each slice, which may become any other of its length.
_NAME = b"kworker"


def make_snapshots(directory: Path, number: int, bases: Mapping[str, Snapshot], seed: int = 1) -> list[Path]:
    """So many saved snapshots, ``host-00000.json.zst`` on, in turn of each base."""
    documents = [snapshot.model_dump(mode="json") for snapshot in bases.values()]
    packer = zstandard.ZstdCompressor(level=1)
    paths = []
    for index in range(number):
        document = change_snapshot(documents[index % len(documents)], index, seed)
        path = directory / f"host-{index:05d}.json.zst"
        path.write_bytes(packer.compress(json.dumps(document).encode()))
        paths.append(path)
    return paths


def change_snapshot(document: dict[str, Any], index: int, seed: int = 1) -> dict[str, Any]:
    """Another machine's, by its number: a copy in which build id, host and times differ, and perhaps a fault is."""
    rng = random.Random(f"{seed}/{index}")
    capture, kernel = dict(document["capture"]), dict(document["kernel"])
    kernel["build_id"] = f"{rng.getrandbits(160):040x}"
    kernel["nodename"] = f"host-{index:05d}"
    capture["taken_at"] = f"2026-11-{index % 27 + 1:02d}T{index % 24:02d}:{index % 60:02d}:07.125+00:00"
    changed = document | {"capture": capture, "kernel": kernel}
    if index % 7 == 3:
        changed["tasks"] = [_left_alone(task) if task["pid"] == 1 else task for task in document["tasks"]]
    if index % 11 == 5:
        changed["errors"] = [
            *document["errors"],
            {"where": "task 1 (0x1)", "what": "comm", "why": "not there"},
        ]
    if index % 5 == 2:
        last = document["tasks"][-1]
        changed["tasks"] = [*changed["tasks"][:-1], last | {"borrowing": True}]
    return changed


def _left_alone(task: dict[str, Any]) -> dict[str, Any]:
    """PID 1 as it is when it owns an ``fs_struct`` that nobody else has."""
    return task | {"fs": "0xffff888000001000", "real_fs": "0xffff888000001000", "owner": "private"}


def make_slices(directory: Path, number: int) -> Iterator[Path]:
    """So many slices, ``slice-000.elf.zst`` on: of each fixture in turn, the names of kworkers differ in each."""
    plain: dict[Path, bytes] = {}
    for index in range(number):
        fixture = list(FIXTURES.values())[index % len(FIXTURES)]
        if fixture not in plain:
            plain = {fixture: zstandard.ZstdDecompressor().decompressobj().decompress(fixture.read_bytes())}
        path = directory / f"slice-{index:03d}.elf.zst"
        renamed = plain[fixture].replace(_NAME + b"/", b"kw%05d/" % index)
        path.write_bytes(zstandard.ZstdCompressor(level=1).compress(renamed))
        yield path


def _cell(value: Any, fact: QueryField) -> str:
    """A value of a column as a CSV of the single command has it."""
    if value is None:
        return ""
    shown = value if isinstance(value, str) else FACTS[fact.name].show(value)
    return str(shown)


def told_otherwise(dataset: Dataset, path: Path) -> list[str]:
    """What a fleet's rows of one target say, and ``snapshot --format csv`` and ``audit --format json`` do not.

    Both commands are run on the target itself.
    """
    key = next(
        row["key"]
        for row in dataset.table("targets", ["key", "path"]).to_pylist()
        if row["path"] == str(path)
    )
    here = pc.field("key") == key
    target = dataset.target(key)
    assert target is not None
    listed = CliRunner().invoke(cli, ["snapshot", str(path), "--format", "csv"]).stdout
    audit = json.loads(CliRunner().invoke(cli, ["audit", str(path), "--format", "json"]).stdout)
    told = []
    rows = dataset.table("tasks", where=here).to_pylist()
    lines = list(csv.DictReader(io.StringIO(listed)))
    if len(rows) != len(lines):
        told.append(f"{len(rows)} tasks, not {len(lines)}")
    for row, line in zip(rows, lines, strict=False):
        for header, fact in CSV_FACTS.items():
            cell = line[header].removeprefix("'")
            if _cell(row[query_column(fact.name)], fact) != ("" if cell == "?" else cell):
                told.append(f"task {row['pid']}: {header}: {row[query_column(fact.name)]!r}, not {cell!r}")
    findings = [
        (row["rule"], row["severity"], row["title"], [each["label"] for each in row["evidence"]])
        for row in dataset.table("findings", where=here).to_pylist()
    ]
    expected = [
        (
            escape_text(each["rule"]),
            each["severity"],
            escape_text(each["title"]),
            [escape_text(part["label"]) for part in each["evidence"]],
        )
        for each in audit["findings"]
    ]
    if findings != expected:
        told.append(f"findings {findings}, not {expected}")
    errors = [
        (row["at"], row["what"], row["why"])
        for row in dataset.table("errors", where=here & (pc.field("stage") != "rule")).to_pylist()
    ]
    if errors != [
        tuple(escape_text(each[name]) for name in ("where", "what", "why")) for each in audit["errors"]
    ]:
        told.append(f"errors {errors}")
    judged = (target["verdict"], target["headline"], target["sentence"])
    if judged != tuple(escape_text(audit["verdict"][name]) for name in ("kind", "headline", "sentence")):
        told.append(f"the verdict {judged}")
    for name in ("release", "build_id", "generation"):
        if target[name] != audit["kernel"][name]:
            told.append(f"{name} {target[name]}")
    return told
