"""A table over a list of records: filtered, ordered and marked, and made into text only where it is looked at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from explorer.analysis.query import FieldType, Query, QueryField, RowField, RowIndex, Value, selected
from explorer.model import Reference
from explorer.tui.views.table import Cell, ViewColumn

__all__ = ("ColumnValue", "RecordTable")

T = TypeVar("T")
#: Records of which the keys are made at once, where it is done in the background.
_CHUNK = 500
_NO_WORD = re.compile(r"\W+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ColumnValue:
    """What a column stands for, where filters and orders are not to go by its text."""

    type: FieldType = FieldType.TEXT
    get: Callable[[Any], Value] | None = None
    order: Callable[[Any], Any] | None = None
    choices: tuple[str, ...] = ()
    """All there can be, for completion; a filter may say any other text too."""


class RecordTable(Generic[T]):
    """A :class:`~explorer.tui.views.table.ArrangedSource` over a list."""

    def __init__(
        self,
        columns: Sequence[ViewColumn],
        records: Sequence[T],
        cells: Callable[[T], Sequence[Cell]],
        reference: Callable[[T], Reference | None],
        values: Mapping[str, ColumnValue] | None = None,
        depths: Sequence[int] | None = None,
    ) -> None:
        """
        :param values: by the name of their column; of the others the text is asked
        :param depths: of a tree: how deep each record lies. A filter shows what is above a match, too
        """
        self.columns = columns
        self.records = records
        """Those that are shown, as they are shown."""
        self.what = "rows"
        """What the rows are, for the counts."""
        self.sort_column: str | None = None
        self.descending = False
        self.picked: set[Hashable] = set()
        self.marks: Mapping[tuple[str, int | None], str] | None = None
        """(kind, address) -> what changed since the reading before, in one character; ``None``: nothing ever does."""
        self._all = records
        self._cells = cells
        self._reference = reference
        self._values = values or {}
        self._depths = depths
        self._query: Query | None = None
        self._places: Sequence[int] = range(len(records))
        self._matching = len(records)
        self.first_match = 0

    # -- rows ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.records)

    def cells(self, index: int) -> Sequence[Cell]:
        return self._cells(self.records[index])

    def cells_of(self, record: T) -> Sequence[Cell]:
        return self._cells(record)

    def mark(self, index: int) -> str:
        own = self._reference(self.records[index])
        return "" if own is None or not self.marks else self.marks.get((own.kind, own.address), "")

    def reference_at(self, index: int) -> Reference | None:
        return self._reference(self.records[index])

    def find(self, reference: Reference) -> int | None:
        """The row of an object, by kind and address; of one without address, by its label. Asked at every key."""
        places = self._places_of.get((reference.kind, reference.address), [])
        if reference.address is None:
            labels = ((place, self._reference(self._all[place])) for place in places)
            places = [place for place, own in labels if own is not None and own.label == reference.label]
        rows = (self._row_of(place) for place in places)
        return min((row for row in rows if row is not None), default=None)

    def _row_of(self, place: int) -> int | None:
        """Where a record is shown."""
        try:
            return self._places.index(place)
        except ValueError:
            return None

    # -- filter and order ------------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> dict[str, str]:
        """The name of a column, and the word by which a filter asks for it: its title."""
        words = [_NO_WORD.sub("_", column.title.lower()).strip("_") for column in self.columns]
        once = Counter(words)
        names = {}
        for column, word in zip(self.columns, words, strict=True):
            fits = word[:1].isalpha() and once[word] == 1
            own = column.name if column.name not in once else f"{column.name}_"
            names[column.name] = word if fits else own
        return names

    @cached_property
    def index(self) -> RowIndex:
        fields = []
        for column in self.columns:
            value = self._values.get(column.name, ColumnValue())
            fields.append(RowField(self._names[column.name], value.type, value.get, value.order))
        return RowIndex(fields, self._all, lambda record: [cell.text for cell in self._cells(record)])

    @property
    def fields(self) -> Mapping[str, QueryField]:
        return self.index.fields

    def warm_up(self, between: Callable[[], None]) -> None:
        self.index.warm_up(between)
        if "_objects" not in self.__dict__:
            self.__dict__.setdefault("_objects", self._make_objects(between))
        between()
        _ = self._places_of
        between()
        if "_keys" not in self.__dict__:
            self.__dict__.setdefault("_keys", self._make_keys(between))

    def values_of(self, name: str) -> Sequence[str]:
        column = next(column for column in self.columns if self._names[column.name] == name)
        value = self._values.get(column.name, ColumnValue())
        return value.choices or self.index.offers(name)

    @property
    def matching(self) -> int:
        return self._matching

    def counts(self) -> str:
        total = len(self._all)
        return f"{total} {self.what}" if self._query is None else f"{self._matching} of {total} {self.what}"

    def set_filter(self, query: Query | None) -> None:
        self._query = query
        self._lay_out()

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        self.sort_column, self.descending = column, descending
        self._lay_out()

    def _lay_out(self) -> None:
        mask = None if self._query is None else self.index.mask(self._query.root)
        self._matching = len(self._all) if mask is None else mask.count(1)
        if self.sort_column is not None:
            order = self.index.order(self._names[self.sort_column], self.descending)
            self._places = order if mask is None else [place for place in order if mask[place]]
        elif mask is None:
            self._places = range(len(self._all))
        else:
            self._places = self._with_above(selected(mask))
        self.first_match = 0
        if mask is not None and self._depths is not None:
            matches = (row for row, place in enumerate(self._places) if mask[place])
            objects = (row for row in matches if self._reference(self._all[self._places[row]]) is not None)
            self.first_match = next(objects, 0)
        everything = isinstance(self._places, range)
        self.records = self._all if everything else [self._all[place] for place in self._places]

    def _with_above(self, places: list[int]) -> list[int]:
        """Of a tree: rows, and those that they hang on."""
        if self._depths is None:
            return places
        kept: set[int] = set()
        for place in places:
            above: int | None = place
            while above is not None and above not in kept:
                kept.add(above)
                above = self._above[above]
        return sorted(kept)

    @cached_property
    def _above(self) -> list[int | None]:
        """Of a tree: the place of the record that each hangs on."""
        above: list[int | None] = []
        way: list[int] = []
        depths = self._depths or ()
        for place, depth in enumerate(depths):
            while way and depths[way[-1]] >= depth:
                way.pop()
            above.append(way[-1] if way else None)
            way.append(place)
        return above

    # -- marks of the user -----------------------------------------------------------------------------------

    @cached_property
    def _objects(self) -> list[tuple[str, int | None] | None]:
        """Kind and address of what each record is about."""
        return self._make_objects(lambda: None)

    def _make_objects(self, between: Callable[[], None]) -> list[tuple[str, int | None] | None]:
        objects: list[tuple[str, int | None] | None] = []
        for start in range(0, len(self._all), _CHUNK):
            between()
            references = map(self._reference, self._all[start : start + _CHUNK])
            objects += [None if own is None else (own.kind, own.address) for own in references]
        return objects

    @cached_property
    def _places_of(self) -> dict[tuple[str, int | None], list[int]]:
        """The records about an object."""
        places: dict[tuple[str, int | None], list[int]] = {}
        for place, own in enumerate(self._objects):
            if own is not None:
                places.setdefault(own, []).append(place)
        return places

    @cached_property
    def _keys(self) -> list[Hashable]:
        """Each record by its object; where several are about one object, by their text too."""
        return self._make_keys(lambda: None)

    def _make_keys(self, between: Callable[[], None]) -> list[Hashable]:
        objects = self._objects
        between()
        counts = Counter(objects)
        return [
            own
            if own is not None and counts[own] == 1
            else (own, *(cell.text for cell in self._cells(record)))
            for own, record in zip(objects, self._all, strict=True)
        ]

    def keys_at(self, index: int) -> Collection[Hashable]:
        return (self._keys[self._places[index]],)

    def is_picked(self, index: int) -> bool:
        return bool(self.picked) and self._keys[self._places[index]] in self.picked

    def all_keys(self) -> Collection[Hashable]:
        return [self._keys[place] for place in self._places]

    def picked_records(self) -> list[T]:
        column = self.sort_column
        places = (
            range(len(self._all))
            if column is None
            else self.index.order(self._names[column], self.descending)
        )
        return (
            [self._all[place] for place in places if self._keys[place] in self.picked] if self.picked else []
        )

    def keep_picked(self, picked: set[Hashable]) -> None:
        self.picked = picked & set(self._keys) if picked else set()
