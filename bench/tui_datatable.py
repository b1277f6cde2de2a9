"""The same rows in Textual's DataTable: load, filter, sort. What the app would cost if it were built the usual way."""

from __future__ import annotations

import asyncio
import gc
from time import perf_counter
from typing import Any

from textual.app import App, ComposeResult
from textual.content import Content
from textual.widgets import DataTable

from explorer.analysis.query import LABEL_COLUMNS, parse_query, selected
from explorer.model import Snapshot
from explorer.tui.views.tasks import TaskTable

__all__ = ("measure_datatable",)

_SIZE = (120, 36)
_QUERY = "kwork"
_PATIENCE_S = 600.0


class _TableApp(App[None]):
    painted = 0.0

    def compose(self) -> ComposeResult:
        table: DataTable[Content] = DataTable()
        for column in LABEL_COLUMNS:
            table.add_column(column.title, key=column.name)
        yield table

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        self.painted = perf_counter()

    async def settled(self, start: float) -> float:
        """Milliseconds from ``start`` to the last paint: the table has measured all its rows by then."""
        table = self.query_one(DataTable)
        while perf_counter() - start < _PATIENCE_S:
            await asyncio.sleep(0.005)
            waiting = table._require_update_dimensions or table._new_rows
            if not waiting and self.painted > start and perf_counter() - self.painted > 0.1:
                return (self.painted - start) * 1000
        raise TimeoutError("DataTable did not paint in time")


async def _measure(cells: list[list[Content]], matching: list[int]) -> dict[str, float]:
    app = _TableApp()
    results = {}
    async with app.run_test(size=_SIZE) as pilot:
        await pilot.pause()
        table = app.query_one(DataTable)
        start = perf_counter()
        table.add_rows(cells)
        results["first paint"] = await app.settled(start)
        start = perf_counter()
        table.sort("comm", key=str)
        results["sort"] = await app.settled(start)
        start = perf_counter()
        table.clear()
        table.add_rows([cells[place] for place in matching])
        results["filter keystroke"] = await app.settled(start)
    return results


def measure_datatable(snapshot: Snapshot) -> dict[str, float]:
    """Milliseconds of loading, sorting by name, and showing what a query selects, one row a task."""
    tasks = TaskTable(snapshot)
    tasks.set_grouped(False)
    cells = [[Content(column.text(row)) for column in LABEL_COLUMNS] for row in tasks.rows]
    matching = selected(tasks.index.mask(parse_query(_QUERY).root))
    gc.collect()
    return asyncio.run(_measure(cells, matching))
