"""How many of the targets that a filter lets through have each verdict, finding, release, outcome and host."""

from __future__ import annotations

from collections import Counter

from explorer.analysis.query import (
    Comparison,
    Facet,
    FacetTerm,
    Mask,
    Node,
    QueryError,
    RowIndex,
    comparisons,
    parse_query,
)

__all__ = ("count_target_facets",)

#: In the order of what is asked first.
_FIELDS = ("verdict", "rules", "release", "outcome", "host")
_MOST_TERMS = 10


def count_target_facets(index: RowIndex, mask: Mask, query: Node) -> list[Facet]:
    """The most frequent value first; a field of which all targets have their own is left out, unless it is asked for.

    :param query: its terms are listed even where they count nothing, so that they can be taken away
    """
    facets = [_count(index, mask, query, name) for name in _FIELDS]
    return [facet for facet in facets if facet is not None]


def _count(index: RowIndex, mask: Mask, query: Node, name: str) -> Facet | None:
    column = index.column(name)
    counts: Counter[str] = Counter()
    texts = dict(zip(column.values, column.texts, strict=True))
    for value, number in column.counts(mask).items():
        for text in texts[value]:
            counts[text] += number
    asked = {node.value for node in comparisons(query) if node.field == name}
    if not asked and (not counts or (max(counts.values()) == 1 and len(counts) > 1)):
        return None
    ranked = sorted({*counts, *asked}, key=lambda text: (-counts[text], text))
    kept = [text for place, text in enumerate(ranked) if place < _MOST_TERMS or text in asked]
    terms = [FacetTerm(_term(index, name, text), text, counts[text]) for text in kept]
    return Facet(name, tuple(terms), len(ranked) - len(kept))


def _term(index: RowIndex, name: str, text: str) -> Comparison | None:
    """``field:value``, if the language can say it."""
    node = Comparison(name, ":", text)
    if not text or "*" in text or "?" in text:
        return None
    try:
        return node if parse_query(str(node), index.fields).root == node else None
    except QueryError:
        return None
