"""The first line of a screen: where one is and how one got there, and beside it what is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from explorer.model import display_width
from explorer.output import fit, fit_middle

from .overview import fit_header

__all__ = ("first_line",)

_SEPARATOR = " › "
_MISSING = "…"
#: Terminal columns between where one is and what is looked at.
_GAP = 3
#: Terminal columns of a crumb that is not alone; of the last one where nothing else has room.
_CRUMB, _LAST = 40, 20
#: What a header has at its end that is not missed: the types, and how many tasks.
_SPARE = 2


def first_line(crumbs: Sequence[str], header: str, width: int) -> tuple[str, str]:
    """Crumbs and header for ``width`` terminal columns. Long crumbs lose what is in their middle; a header loses
    first what is not missed, then, where even the last crumb has no room beside it, its end.

    :param crumbs: the outermost first, at least one; escaped, as ``header`` is
    """
    parts = header.split("   ")
    essential = display_width("   ".join(parts[: max(2, len(parts) - _SPARE)]))
    shown = next(
        (text for text in _shorter(crumbs) if display_width(text) + _GAP + essential <= width),
        fit_middle(crumbs[-1], min(_LAST, max(1, width // 3))),
    )
    room = max(0, width - display_width(shown) - _GAP)
    return shown, fit(fit_header(header, room), room)


def _shorter(crumbs: Sequence[str]) -> Iterator[str]:
    """From all of them to the last one, with the first for as long as possible: it says where home is."""
    short = [fit_middle(" ".join(crumb.split()), _CRUMB) for crumb in crumbs]
    yield _SEPARATOR.join(short)
    for kept in range(len(short) - 2, 0, -1):
        yield _SEPARATOR.join([short[0], _MISSING, *short[-kept:]])
    if len(short) > 2:
        yield _SEPARATOR.join([_MISSING, short[-1]])
    yield short[-1]
