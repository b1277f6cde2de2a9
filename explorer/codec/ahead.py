"""A snapshot's file that another process takes apart, while this one does something else: on two cores, at no cost.

The process is forked off. What it hands over are the columns of the text (:mod:`.lines`), which it has seen to be laid
out as ``write_json`` does it: each column as one piece, and not an object for every value. So to take them over is a
tenth of the work, and to know what they mean is left to whoever asks for one, as of a file that was read here::

    length, head as JSON        version; by name, which pieces there are, and how long each is
    pieces                      in that order: JSON of members, columns, lines that have another layout
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from explorer.keeper import stand_apart
from explorer.model import SNAPSHOT_ARRAYS, Snapshot
from explorer.syscalls import end_with, fork

from .columns import TextColumn, TextTable, layout_of
from .lines import ArrayText, SnapshotText
from .snapshots import checked_quickly, load_quickly, take_file_apart

__all__ = ("ReadAhead",)

#: What is smaller is read in less time than a process takes to be there.
_WORTH_WHILE = 128 << 10
_LENGTH = 8


class ReadAhead:
    """The file, as :func:`.snapshots.load_quickly` reads it. Made while this process has one thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pid = 0
        try:
            file = path.open("rb")
        except OSError:
            return  # whoever reads it says so
        with file:
            if os.fstat(file.fileno()).st_size < _WORTH_WHILE:
                return
            self._memory = os.fdopen(os.memfd_create("nullfs-explorer-ahead"), "r+b")
            parent = os.getpid()
            self._pid = fork()
            if not self._pid:
                _take_apart(parent, file, self._memory)

    def load(self) -> Snapshot | None:
        """Wait for what was read ahead, the first time; read the file, later. From any thread, one at a time."""
        pid, self._pid = self._pid, 0
        if not pid:
            return load_quickly(self._path)
        Snapshot.model_rebuild()  # what validates it is made while there is time
        _, status = os.waitpid(pid, 0)
        with self._memory as memory:
            return None if status else checked_quickly(_unpacked(memory))


def _take_apart(parent: int, file: BinaryIO, memory: BinaryIO) -> NoReturn:
    """The other process."""
    code = 1
    try:
        end_with(parent)
        stand_apart(file.fileno(), memory.fileno())
        text = take_file_apart(file)
        if text is not None:
            for piece in _packed(text):
                memory.write(piece)
            memory.flush()
            code = 0
    finally:
        os._exit(code)  # the finally above all: nothing of the parent's goes on in a child


def _packed(text: SnapshotText) -> list[bytes]:
    pieces: list[bytes] = []

    def put(piece: bytes) -> int:
        pieces.append(piece)
        return len(piece)

    def column(texts: TextColumn) -> list[int | None]:
        numbers = None if texts.numbers is None else put(texts.numbers.tobytes())
        return [numbers, put(texts.joined())]

    def table(of: ArrayText) -> dict[str, Any]:
        columns = [] if of.table is None else list(map(column, of.table.texts))
        rows = None if of.table is None else of.table.rows
        return {"rows": rows, "columns": columns, "others": [[at, put(line)] for at, line in of.others]}

    head = {
        "version": text.version,
        "plain": {name: put(member) for name, member in text.plain.items()},
        "arrays": {name: table(of) for name, of in text.arrays.items()},
    }
    said = json.dumps(head).encode()
    return [len(said).to_bytes(_LENGTH, "little"), said, *pieces]


def _unpacked(memory: BinaryIO) -> SnapshotText:
    memory.seek(0)
    take = memory.read
    head = json.loads(take(int.from_bytes(take(_LENGTH), "little")))
    plain = {name: take(length) for name, length in head["plain"].items()}
    arrays = {name: _array(name, said, take) for name, said in head["arrays"].items()}
    return SnapshotText(head["version"], plain, arrays)


def _array(name: str, said: dict[str, Any], take: Callable[[int], bytes]) -> ArrayText:
    columns = []
    for numbers, joined in said["columns"]:
        by_row = None if numbers is None else array("I", take(numbers))
        columns.append(TextColumn.of_joined(take(joined), by_row))
    others = [(at, take(length)) for at, length in said["others"]]
    layout = None if said["rows"] is None else layout_of(SNAPSHOT_ARRAYS[name])
    return ArrayText(None if layout is None else TextTable(layout, columns, said["rows"]), others)
