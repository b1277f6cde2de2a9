"""Writing a fleet's dataset: rows wait until there are some hundreds, and then all of them are on the disk, or none.

A part's files are written aside, and get their names when all of them are on the disk, that of ``targets`` last: from
then on the part is there (:mod:`explorer.fleet.parts`). One process at a time writes; a run that was killed leaves
nothing but files that the next one takes away.
"""

from __future__ import annotations

import fcntl
import io
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from explorer.fleet.dataset import Dataset
from explorer.fleet.errors import FleetError, FleetWriteError
from explorer.fleet.manifest import MANIFEST, Manifest, load_manifest
from explorer.fleet.needed import need
from explorer.fleet.parts import SUFFIX, list_parts
from explorer.fleet.tables import TABLES
from explorer.places import find_place
from explorer.version import __version__

from .compacting import clean_up, compact
from .files import whole_file
from .requests import Result, Told

__all__ = ("FleetWriter",)

_LOCK = ".lock"
#: A part is written when it has so many targets, or bytes of rows, or when its first row is so old.
_MOST_TARGETS = 500
_MOST_BYTES = 64 << 20
_MOST_SECONDS = 20.0


class FleetWriter:
    """The one who writes to a dataset. Use it in a ``with``: what is still to be written is written at its end.

    :raises FleetWriteError: if the directory is something else, another run writes to it, or it cannot be written
    """

    def __init__(self, fleet: Path) -> None:
        need("pyarrow.parquet")
        self.path = fleet
        self.written = 0
        """Targets whose rows are on the disk, of this run."""
        self._waiting: list[dict[str, Any]] = []
        """Tables by name, with the rows of so many targets, and so many bytes."""
        self._targets = self._bytes = 0
        self._since = 0.0
        with _writing(fleet):
            self._lock = _begin(fleet)
            clean_up(fleet)
        self._next = 1 + max((int(name.split("-")[0]) for name in list_parts(fleet)), default=0)
        self._known = _known_keys(fleet)

    def knows(self, key: str) -> bool:
        """Whether this version of the program has made a row of this target already."""
        return bytes.fromhex(key) in self._known

    def add(self, result: Result) -> None:
        """Take some targets; they are on the disk some seconds later, or some hundreds of targets. Once is enough for
        each.

        :raises FleetWriteError: if what has come together cannot be written
        """
        known = {told.key for told in result.targets if bytes.fromhex(told.key) in self._known}
        tables = _without(known, result.tables) if known else result.tables
        for told in result.targets:
            if told.outcome is not None and told.key not in known:
                self._keep(told)
                self._known.add(bytes.fromhex(told.key))
        if not tables:
            return
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append(tables)
        self._targets += tables["targets"].num_rows
        self._bytes += sum(table.nbytes for table in tables.values())
        is_old = time.monotonic() - self._since >= _MOST_SECONDS
        if self._targets >= _MOST_TARGETS or self._bytes >= _MOST_BYTES or is_old:
            self.flush()

    def _keep(self, told: Told) -> None:
        if told.snapshot is not None:
            with _writing(self.path), whole_file(self.path / "snapshots" / f"{told.key}.json.zst") as file:
                file.write(told.snapshot)

    def flush(self) -> None:
        """Write what has come together. :raises FleetWriteError: if it cannot be written: none of it is then"""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        targets, self._targets, self._bytes = self._targets, 0, 0
        pa, pq = need("pyarrow"), need("pyarrow.parquet")
        name = f"{self._next:08d}-{secrets.token_hex(4)}"
        with _writing(self.path), ExitStack() as files:
            # Left in the reverse order: the file of targets, entered first, gets its name last.
            for table in TABLES:
                rows = pa.concat_tables([tables[table] for tables in waiting]).combine_chunks()
                file = files.enter_context(whole_file(self.path / table / f"{name}{SUFFIX}"))
                written = io.BytesIO()
                pq.write_table(rows, written, compression="zstd")
                file.write(written.getbuffer())
        with _writing(self.path):
            for table in TABLES:
                _sync_directory(self.path / table)
        self._next += 1
        self.written += targets

    def __enter__(self) -> FleetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None or not issubclass(kind, FleetError):
                self.flush()
            if kind is None:
                with _writing(self.path):
                    compact(Dataset.open(self.path))
        finally:
            os.close(self._lock)


def _begin(fleet: Path) -> int:
    """Make what is not there, and keep others out. Returns the descriptor that does."""
    _make_directory(fleet)
    if not (fleet / MANIFEST).exists():
        strangers = [path.name for path in fleet.iterdir() if path.name not in (_LOCK, *TABLES, "snapshots")]
        if any(not name.startswith(".") for name in strangers):
            raise FleetWriteError(
                f"{fleet}: a directory with other things in it, and no fleet: name one that is not there"
            )
    with find_place(fleet / _LOCK) as place:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(place.name, flags, 0o600, dir_fd=place.directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for name in (*TABLES, "snapshots"):
            _make_directory(fleet / name)
        if not (fleet / MANIFEST).exists():
            with whole_file(fleet / MANIFEST) as file:
                file.write(Manifest(tool_version=__version__).text().encode())
        load_manifest(fleet)
    except BlockingIOError as error:
        os.close(lock)
        raise FleetWriteError(
            f"{fleet}: another run is writing to it: wait for that one, or end it"
        ) from error
    except BaseException:
        os.close(lock)
        raise
    return lock


def _without(keys: set[str], tables: dict[str, Any]) -> dict[str, Any]:
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    wanted = ~pc.is_in(pc.field("key"), pa.array(keys, pa.string()))
    left = {name: table.filter(wanted) for name, table in tables.items()}
    return left if left and left["targets"].num_rows else {}


def _make_directory(path: Path) -> None:
    """If it is not there; not through what another user has put in the way."""
    with find_place(path) as place:
        if not place.is_directory:
            os.mkdir(place.name, 0o700, dir_fd=place.directory)


def _known_keys(fleet: Path) -> set[bytes]:
    """The keys of targets that this version has read, 16 bytes each."""
    pc = need("pyarrow.compute")
    mine = pc.field("tool_version") == __version__
    known: set[bytes] = set()
    for batch in Dataset.open(fleet).batches("targets", ["key"], mine):
        known.update(map(bytes.fromhex, batch["key"].to_pylist()))
    return known


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def _writing(fleet: Path) -> Iterator[None]:
    """What keeps a dataset from being written, in words."""
    try:
        yield
    except OSError as error:
        raise FleetWriteError(
            f"cannot write {fleet}: {error.strerror or error}; what was written before is whole, and the same command "
            "goes on from there"
        ) from error
