"""A table of which most rows have most of their values in common with others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import count
from operator import itemgetter
from typing import Any

__all__ = ("ColumnTable",)


class ColumnTable(dict[str, list[Any]]):
    """By field, its column, made when it is first asked for. See :class:`.deferred.DeferredTable`."""

    __eq__ = object.__eq__

    def __init__(
        self,
        fields: Iterable[str],
        shared: Sequence[Mapping[str, Any]],
        own: Mapping[str, Callable[[], list[Any]]],
    ) -> None:
        """
        :param fields: of a record, in their order
        :param shared: by row, the values of the fields that are not its own: of rows that are alike, one mapping
        :param own: what makes the column of a field of which each row has a value of its own
        """
        super().__init__()
        self.order: Sequence[int] = ()
        self._fields = tuple(fields)
        self._shared = shared
        self._own = own

    def __missing__(self, name: str) -> list[Any]:
        make = self._own.get(name)
        made = self[name] = list(map(itemgetter(name), self._shared)) if make is None else make()
        return made

    @property
    def own(self) -> Collection[str]:
        """The fields of which each row has a value of its own."""
        return self._own

    def alike(self) -> tuple[list[Mapping[str, Any]], list[int]]:
        """The values of the other fields, once for all rows that are alike; and by row, which of these are its."""
        numbers = defaultdict[int, int](count().__next__)
        by_row = list(map(numbers.__getitem__, map(id, self._shared)))
        return list({id(values): values for values in self._shared}.values()), by_row

    def column(self, name: str) -> list[Any]:
        """The values of all rows."""
        return self[name]

    def members(self, row: int) -> dict[str, Any]:
        """Every field of one row."""
        return {name: self[name][row] for name in self._fields}
