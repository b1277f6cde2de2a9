"""A snapshot's file that another process takes apart, while this one does something else: on two cores, at no cost.

The process is forked off. What it hands over are the columns of the text (:mod:`.lines`), which it has seen to be laid
out as ``write_json`` does it: each column as one piece, and not an object for every value. So to take them over is a
tenth of the work, and to know what they mean is left to whoever asks for one, as of a file that was read here.

The pieces are in memory that both have. Through a pipe comes what they are, a line of JSON for each member of the
snapshot as soon as it is there, and last one that says that there are no more::

    ["capture", LENGTH]
    ["tasks", {"rows": ROWS, "columns": [[LENGTH of numbers or null, LENGTH of texts], ...],
               "others": [[PLACE, LENGTH of a line that has another layout], ...]}]
    null
"""

from __future__ import annotations

import json
import os
from array import array as array_of
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from explorer.keeper import stand_apart
from explorer.model import SNAPSHOT_ARRAYS, Snapshot
from explorer.syscalls import end_with, fork

from .columns import TextColumn, TextTable, layout_of
from .lines import ArrayText, Member, OtherLayoutError, take_apart
from .snapshots import content_of, load_quickly, made_quickly

__all__ = ("ReadAhead",)

#: What is smaller is read in less time than a process takes to be there.
_WORTH_WHILE = 128 << 10


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
            self._memory = os.fdopen(os.memfd_create("nullfs-explorer-ahead"), "r+b", buffering=0)
            told, tells = os.pipe()
            parent = os.getpid()
            self._pid = fork()
            if not self._pid:
                _be_other(parent, file, self._memory, tells)
            os.close(tells)
            self._told = os.fdopen(told, "rb")

    def load(self, soon: Mapping[str, Iterable[str]] | None = None) -> Snapshot | None:
        """Take over what is read ahead, the first time; read the file, later. From any thread, one at a time.

        :param soon: by array, the columns that will be asked for at once: there may be time for them in between
        """
        pid, self._pid = self._pid, 0
        if not pid:
            return load_quickly(self._path)
        Snapshot.model_rebuild()  # what validates it is made while there is time
        with self._memory as memory, self._told as told:
            snapshot = made_quickly(_unpacked(memory, told, soon or {}))
        os.waitpid(pid, 0)
        return snapshot


def _be_other(parent: int, file: BinaryIO, memory: BinaryIO, tells: int) -> NoReturn:
    """The other process."""
    try:
        end_with(parent)
        stand_apart(file.fileno(), memory.fileno(), tells)
        with os.fdopen(tells, "w") as out:
            for name, text in take_apart(content_of(file)):
                print(json.dumps([name, _pack(text, memory)]), file=out, flush=True)
            print("null", file=out)
    finally:
        os._exit(0)  # the finally above all: nothing of the parent's goes on in a child


def _pack(text: bytes | ArrayText, memory: BinaryIO) -> Any:
    """Write the pieces. :returns: what is told of them"""

    def put(piece: bytes) -> int:
        left = memoryview(piece)
        while left:
            left = left[memory.write(left) :]
        return len(piece)

    def column(texts: TextColumn) -> list[int | None]:
        numbers = None if texts.numbers is None else put(texts.numbers.tobytes())
        return [numbers, put(texts.joined())]

    if isinstance(text, bytes):
        return put(text)
    table = text.table
    return {
        "rows": None if table is None else table.rows,
        "columns": [] if table is None else list(map(column, table.texts)),
        "others": [[place, put(line)] for place, line in text.others],
    }


def _unpacked(memory: BinaryIO, told: BinaryIO, soon: Mapping[str, Iterable[str]]) -> Iterator[Member]:
    """:raises OtherLayoutError: if that is what the other process has found, or if it has ended early"""
    at = 0

    def take(length: int) -> bytes:
        nonlocal at
        at += length
        return os.pread(memory.fileno(), length, at - length)

    for line in told:
        said = json.loads(line)
        if said is None:
            return
        name, of = said
        if isinstance(of, int):
            yield name, take(of)
            continue
        array = _array(name, of, take)
        yield name, array
        if array.table is not None:
            for column in soon.get(name, ()):
                array.table.column(column)
    raise OtherLayoutError


def _array(name: str, of: dict[str, Any], take: Callable[[int], bytes]) -> ArrayText:
    columns = []
    for numbers, texts in of["columns"]:
        by_row = None if numbers is None else array_of("I", take(numbers))
        columns.append(TextColumn.of_joined(take(texts), by_row))
    others = [(place, take(length)) for place, length in of["others"]]
    layout = None if of["rows"] is None else layout_of(SNAPSHOT_ARRAYS[name])
    return ArrayText(None if layout is None else TextTable(layout, columns, of["rows"]), others)
