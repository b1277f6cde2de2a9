"""Reading a fleet's dataset: every row of what counts, with predicates pushed down to the Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import FleetError
from .manifest import Manifest, load_manifest
from .needed import need
from .parts import SUFFIX, dead_keys, list_parts
from .tables import arrow_schema

__all__ = ("Dataset",)


class Dataset:
    """A fleet that was made by ``fleet run``. What is read of it is what was there when it was opened."""

    def __init__(self, path: Path, manifest: Manifest, parts: Sequence[str]) -> None:
        self.path = path
        self.manifest = manifest
        self.parts = tuple(parts)
        """The names of the parts that count, oldest first."""

    @classmethod
    def open(cls, path: Path) -> Dataset:
        """:raises FleetError: if the directory is no fleet, one of a newer version, or pyarrow is not installed"""
        need("pyarrow")
        return cls(path, load_manifest(path), list_parts(path))

    def files(self, table: str) -> list[Path]:
        """The Parquet files of a table, oldest first. Of those in :attr:`dead` not all rows count."""
        return [self.path / table / f"{name}{SUFFIX}" for name in self.parts]

    @cached_property
    def dead(self) -> dict[str, Any]:
        """By part, the keys (``pyarrow.Array`` of strings) of which a later part has the rows that count."""
        pq = need("pyarrow.parquet")
        with self._errors():
            files = self.files("targets")
            keys = [pq.read_table(file, columns=["key"])["key"].combine_chunks() for file in files]
        return dead_keys(list(zip(self.parts, keys, strict=True)))

    def batches(self, table: str, columns: Sequence[str] | None = None, where: Any = None) -> Iterator[Any]:
        """The rows of a table that count, as ``pyarrow.RecordBatch``, a part of a file at a time.

        :param columns: only these; ``None``: all
        :param where: a ``pyarrow.compute.Expression`` over the table's columns, decided while the files are read

        :raises FleetError: if a file cannot be read
        """
        pc, ds = need("pyarrow.compute"), need("pyarrow.dataset")
        whole = [name for name in self.parts if name not in self.dead]
        for names, dead in [(whole, None), *(([name], keys) for name, keys in self.dead.items())]:
            if not names:
                continue
            files = [str(self.path / table / f"{name}{SUFFIX}") for name in names]
            condition = where
            if dead is not None:
                lives = ~pc.is_in(pc.field("key"), value_set=dead)
                condition = lives if where is None else where & lives
            with self._errors():
                found = ds.dataset(files, schema=arrow_schema(table), format="parquet")
                yield from found.to_batches(columns=columns and list(columns), filter=condition)

    def table(self, table: str, columns: Sequence[str] | None = None, where: Any = None) -> Any:
        """As :meth:`batches`, all at once: a ``pyarrow.Table``."""
        pa = need("pyarrow")
        schema = arrow_schema(table)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        return pa.Table.from_batches(self.batches(table, columns, where), schema)

    def target(self, key: str) -> dict[str, Any] | None:
        """The row of one target, by column; ``None``: there is none of this key."""
        rows = self.table("targets", where=need("pyarrow.compute").field("key") == key).to_pylist()
        return rows[0] if rows else None

    def snapshot_of(self, key: str) -> Path | None:
        """The file with the snapshot of a target; ``None``: none was kept, or it is not there any more."""
        row = self.target(key)
        path = None if row is None or row["snapshot"] is None else self.path / "snapshots" / f"{key}.json.zst"
        return path if path is not None and path.is_file() else None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        pa = need("pyarrow")
        try:
            yield
        except pa.ArrowInvalid as error:
            raise FleetError(f"{self.path}: a file of it is damaged: {error}") from error
        except OSError as error:
            raise FleetError(f"cannot read {self.path}: {error}") from error
