"""The figures as a table and as JSON, and the ratios that the project promises."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ("Ratio", "Row", "as_document", "as_json", "as_table")


@dataclass(frozen=True)
class Row:
    """One figure. ``value`` is ``None`` for what could not be measured; ``note`` says why."""

    what: str
    value: float | None
    unit: str
    tasks: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Ratio:
    """A figure against another one of the same run, and the bound it should keep; ``None``: no bound."""

    what: str
    value: float | None
    bound: float | None
    at_least: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether it keeps the bound; ``None`` where there is none, or nothing was measured."""
        if self.value is None or self.bound is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(heads: Sequence[str], cells: Sequence[Sequence[str]], left: frozenset[int]) -> list[str]:
    widths = [max(len(row[at]) for row in (heads, *cells)) for at in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if at in left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *cells)
    ]


def as_table(rows: Sequence[Row], ratios: Sequence[Ratio]) -> str:
    """Two tables: figures, then ratios with their bounds."""
    figures = [
        (row.what, _figure(row.value), row.unit, "" if row.tasks is None else str(row.tasks), row.note)
        for row in rows
    ]
    shown = []
    for ratio in ratios:
        sign = ">=" if ratio.at_least else "<="
        bound = "" if ratio.bound is None else f"{sign} {ratio.bound:g}"
        verdict = {True: "yes", False: "NO", None: ""}[ratio.holds]
        shown.append((ratio.what, _figure(ratio.value), bound, verdict))
    lines = _table(("figure (median)", "value", "unit", "tasks", ""), figures, frozenset({0, 2, 4}))
    lines += ["", *_table(("ratio", "value", "bound", "holds"), shown, frozenset({0, 3}))]
    return "\n".join(lines)


def as_document(rows: Sequence[Row], ratios: Sequence[Ratio], *, quick: bool) -> dict[str, Any]:
    """What :func:`as_json` writes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "quick": quick,
        "figures": [asdict(row) for row in rows],
        "ratios": [{**asdict(ratio), "holds": ratio.holds} for ratio in ratios],
    }


def as_json(rows: Sequence[Row], ratios: Sequence[Ratio], *, quick: bool) -> str:
    """The same for programs."""
    return json.dumps(as_document(rows, ratios, quick=quick), indent=2, ensure_ascii=False) + "\n"
