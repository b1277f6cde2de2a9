"""A table of which most rows have most of their values in common with others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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

    def column(self, name: str) -> list[Any]:
        """The values of all rows."""
        return self[name]

    def members(self, row: int) -> dict[str, Any]:
        """Every field of one row."""
        return {name: self[name][row] for name in self._fields}
