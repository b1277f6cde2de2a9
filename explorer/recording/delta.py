"""A frame as what differs from the one before it, and back: on the JSON of snapshots, without looking into it.

A document is the JSON object of a snapshot. Its tables (``tasks``, ``fs_structs``, …) hold records with a key,
``address`` or ``name``; a delta names records by it::

    {"values": {"log": […]},                       top-level values that differ, whole
     "merge":  {"capture": {"taken_at": "…"}},     objects of which a few members differ
     "tables": {"tasks": {"gone": ["0x…"],         keys
                          "put":  [{…}],           records that are new
                          "set":  {"0x…": {"state": "R"}},      members that differ
                          "later": {"waiting_s": [50, "0100.1"]},
                         "order": ["0x…"]}}}           all keys, where the order is not the usual one

``later`` is for clocks: of every record of the frame before, in its order and without those that are gone, the member
has grown by so many milliseconds and, by its character, ``0`` none, ``1`` one or ``-`` minus one more; ``.``: this
record is not meant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

from .clocked import CLOCKS, STEPS, ClockedTable, Document
from .format import RecordingError

__all__ = ("TABLES", "apply_delta", "apply_delta_to_records", "make_delta")

Rows = dict[str, Document]

#: Table -> the member that tells its records apart. The order is that of a key frame: tasks last, for the dictionary.
TABLES = {
    "modules": "name",
    "settings": "name",
    "workqueues": "address",
    "mount_namespaces": "address",
    "mounts": "address",
    "fs_structs": "address",
    "tasks": "address",
}
_MERGED = ("capture", "kernel")
#: What a delta may say of a table that leaves every record where it is.
_IN_PLACE = {"later", "set"}
_NAMES = {step: char for char, step in STEPS.items()}
#: A record that lacks a member is not one that has null there.
_ABSENT = object()


def make_delta(before: Document, after: Document) -> Document | None:
    """What leads from one document to the other; ``None`` if only the whole one does.

    The result is tried: whatever is in the documents, a delta that does not lead to ``after`` is not given.
    """
    try:
        delta = _make_delta(before, after)
        return delta if delta is not None and apply_delta(before, delta) == after else None
    except (RecordingError, TypeError, ValueError, KeyError, AttributeError, OverflowError):
        return None  # documents of another make than a snapshot's


def _make_delta(before: Document, after: Document) -> Document | None:
    delta: Document = {}
    values = {
        key: value
        for key, value in after.items()
        if key not in TABLES and key not in _MERGED and before.get(key, _ABSENT) != value
    }
    merge = {key: _members(before.get(key) or {}, after.get(key) or {}) for key in _MERGED}
    tables = {}
    for name, key in TABLES.items():
        old, new = _rows(before.get(name), key), _rows(after.get(name), key)
        if old is None or new is None:
            return None
        table = _table_delta(old, new, key)
        if table:
            tables[name] = table
    if values:
        delta["values"] = values
    if any(merge.values()):
        delta["merge"] = {key: members for key, members in merge.items() if members}
    if tables:
        delta["tables"] = tables
    return delta


def _rows(records: Any, key: str) -> Rows | None:
    """Records by key; ``None`` if two have the same."""
    if not isinstance(records, list) or not all(isinstance(record[key], str) for record in records):
        return None
    rows = {record[key]: record for record in records}
    return rows if len(rows) == len(records) else None


def _members(old: Document, new: Document) -> Document:
    return {
        name: value
        for name, value in new.items()
        if (have := old.get(name, _ABSENT)) is not value and have != value
    }


def _table_delta(old: Rows, new: Rows, name: str) -> Document:
    gone = [key for key in old if key not in new]
    put = [record for key, record in new.items() if key not in old]
    later = {clock: _clock(clock, old, new) for clock in CLOCKS}
    later = {clock: value for clock, value in later.items() if value is not None}
    moved = {clock: value[1] for clock, value in later.items() if value is not None}
    changed: dict[str, Document] = {}
    place = -1
    for key, record in old.items():
        now = new.get(key)
        if now is None:
            continue
        place += 1
        members = _members(record, now)
        for clock, chars in moved.items():
            if chars[place] != ".":
                members.pop(clock, None)
        if members:
            changed[key] = members
    usual = [record[name] for record in sorted(new.values(), key=_order)] if put else list(old)
    order = list(new) if list(new) != [key for key in usual if key in new] else []
    found: Document = {"gone": gone, "put": put, "set": changed, "later": later, "order": order}
    return {what: value for what, value in found.items() if value}


def _clock(name: str, old: Rows, new: Rows) -> list[Any] | None:
    """``[milliseconds, characters]`` for a clock that most records show to have moved alike."""
    grown: list[int | None] = []
    for key, record in old.items():
        now = new.get(key)
        if now is None:
            continue
        before, after = record.get(name), now.get(name)
        if before is None or after is None:
            grown.append(None)
            continue
        by = round(after * 1000) - round(before * 1000)
        exact = (round(before * 1000) + by) / 1000 == after
        grown.append(by if exact else None)
    counts = Counter(by for by in grown if by)
    if not counts:
        return None
    usual = max(counts, key=lambda by: counts[by - 1] + counts[by] + counts[by + 1])
    chars = "".join("." if by is None else _NAMES.get(by - usual, ".") for by in grown)
    return None if chars.strip(".") == "" else [usual, chars]


def apply_delta(before: Document, delta: Document, members: Container[str] | None = None) -> Document:
    """The document a delta leads to. ``before`` stays as it is; what does not differ is shared with it.

    :param members: those that a document may have; other values are left out

    :raises RecordingError: if the delta does not belong to this document
    """
    after = apply_delta_to_records(before, delta, members)
    tables = {name: table for name, table in after.items() if isinstance(table, ClockedTable)}
    return after | {name: table.all_settled() for name, table in tables.items()}


def apply_delta_to_records(
    before: Document, delta: Document, members: Container[str] | None = None
) -> Document:
    """The same, where what clocks show is kept beside the records: each table that a delta changed is a
    :class:`ClockedTable`."""
    try:
        return _apply(before, delta, members)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise RecordingError(f"a delta does not fit the frame before it ({type(error).__name__})") from error


def _apply(before: Document, delta: Document, members: Container[str] | None) -> Document:
    values = delta.get("values", {})
    after = {**before, **{key: value for key, value in values.items() if members is None or key in members}}
    for name, changed in delta.get("merge", {}).items():
        if name not in _MERGED:
            raise ValueError(name)
        after[name] = {**after[name], **changed}
    for name, table in delta.get("tables", {}).items():
        after[name] = _apply_table(after[name], table, TABLES[name])
    return after


def _apply_table(records: list[Document], table: Document, key: str) -> ClockedTable:
    known = records.moved if isinstance(records, ClockedTable) else {}
    found = ClockedTable(records, {clock: list(shown) for clock, shown in known.items()})
    places = None
    if isinstance(records, ClockedTable):
        places, found.orders = records.places, None if records.orders is None else list(records.orders)
    if places is None:
        places = {record[key]: place for place, record in enumerate(found)}
    if table.keys() <= _IN_PLACE and len(places) == len(found):
        found.made_from = records.token if isinstance(records, ClockedTable) else None
        return _apply_in_place(found, places, table, key)
    places = dict(places)
    for gone in table.get("gone", ()):
        del places[gone]
    if len(places) != len(found):
        found = found.picked(list(places.values()))
        places = {name: place for place, name in enumerate(places)}
    _apply_in_place(found, places, table, key)
    for record in table.get("put", ()):
        found.put(places.setdefault(record[key], len(found)), record)
    if "order" in table:
        if len(table["order"]) != len(places):
            raise ValueError("order")
        return found.picked([places[name] for name in table["order"]])
    if "put" in table:
        return found.sorted(_order)
    return found


def _apply_in_place(found: ClockedTable, places: dict[str, int], table: Document, key: str) -> ClockedTable:
    """What leaves every record where it is."""
    for clock, (by, steps) in table.get("later", {}).items():
        if clock not in CLOCKS or type(by) is not int:
            raise ValueError(clock)
        found.move(clock, by, steps)
    for name, members in table.get("set", {}).items():
        found.put(places[name], {**found.settled(places[name]), **members})
    if not any(key in members for members in table.get("set", {}).values()):
        found.places = places
    return found


def _order(record: Document) -> tuple[int, int, str]:
    """The order of a snapshot's arrays: tasks by pid, then address; others by address; what has none by name."""
    address = record.get("address")
    return record.get("pid", 0), int(address[2:], 16) if address else 0, "" if address else record["name"]
