"""Facets as rows of a narrow table: the field's name, then its values with their counts."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.analysis.query import Facet, FacetTerm, Node, Standing, standing_of
from explorer.tui.views.table import Cell, ViewColumn

__all__ = ("FACETS_WIDTH", "FacetTable")

#: Terminal columns of the pane, its border and scrollbar included.
FACETS_WIDTH = 25
_MARKS = {Standing.ABSENT: " ", Standing.REQUIRED: "✓", Standing.EXCLUDED: "✗"}
_TONES = {Standing.ABSENT: "", Standing.REQUIRED: "group", Standing.EXCLUDED: "warn"}


class FacetTable:
    """A :class:`~explorer.tui.views.table.TableSource` of facets."""

    columns: Sequence[ViewColumn] = (
        ViewColumn("value", "", 12, 1),
        ViewColumn("count", "", 6, numeric=True),
    )

    def __init__(self, facets: Sequence[Facet], query: Node) -> None:
        self._query = query
        self.stale = False
        """The rows that are counted are not those on the screen any more."""
        self._lines: list[tuple[str, FacetTerm | None]] = []
        for facet in facets:
            self._lines.append((facet.name, None))
            self._lines += [(" " * term.depth + term.label, term) for term in facet.terms]
            if facet.more:
                self._lines.append((f" and {facet.more} more", None))

    def __len__(self) -> int:
        return len(self._lines)

    def cells(self, index: int) -> list[Cell]:
        label, term = self._lines[index]
        if term is None:
            return [Cell(label, "muted" if label.startswith(" ") else "group"), Cell("")]
        standing = standing_of(self._query, term.node)
        tone = "muted" if self.stale or term.node is None else _TONES[standing]
        return [Cell(_MARKS[standing] + label, tone), Cell("…" if self.stale else str(term.count), tone)]

    def term_at(self, index: int) -> FacetTerm | None:
        """The value on a line; ``None`` on a field's name."""
        return self._lines[index][1] if 0 <= index < len(self._lines) else None

    def find(self, term: FacetTerm) -> int | None:
        """The line of a value."""
        for index, (_, other) in enumerate(self._lines):
            if other is not None and other.node == term.node and other.label == term.label:
                return index
        return None
