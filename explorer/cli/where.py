"""``--where``: the option that takes a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from explorer.analysis.query import Query

__all__ = ("LookupQueryType", "QueryType", "where_option")


class QueryType(click.ParamType["Query"]):
    """A query; a bad one ends the command before any target is opened, with a caret below what is wrong."""

    name = "query"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Query:
        from explorer.analysis.query import Query, QueryError

        if isinstance(value, Query):
            return value
        try:
            return self._parse(value)
        except QueryError as error:
            self.fail(f"column {error.position + 1}\n\n{error.render()}", param, ctx)

    def _parse(self, text: str) -> Query:
        from explorer.analysis.query import parse_query

        return parse_query(text)


class LookupQueryType(QueryType):
    """A query over lookups."""

    def _parse(self, text: str) -> Query:
        from explorer.analysis.lookups import parse_lookup_query

        return parse_lookup_query(text)


where_option = click.option(
    "--where",
    type=QueryType(),
    metavar="QUERY",
    help="Only tasks that match, such as 'kind:kernel not placement:nullfs'.",
)
