"""Lookups as lines of a table, one by one as they come, and the stack of each."""

from __future__ import annotations

from explorer.analysis.lookups import Asker, Judged, frame_label, path_words, place_words, result_name
from explorer.model import comm_and_pid, display_width, escape_text
from explorer.output.table import RowLines, TableColumn, fit_middle

__all__ = ("asker_words", "lookup_cells", "lookup_lines", "lookup_titles", "stack_lines")

_COLUMNS = (
    TableColumn("TIME", numeric=True, rank=3),
    TableColumn("WHO", least=12, rank=1, cut=fit_middle),
    TableColumn("PATH", least=10, cut=fit_middle),
    TableColumn("START", least=10, rank=4),
    TableColumn("RESULT", rank=2),
    TableColumn("ASKED BY", least=10),
    TableColumn("MEANS", least=15),
)
#: What a usual lookup takes: widths are known before the first comes. A path has what is left.
_USUAL = ("99999.999", "kworker/u16:10 (99999)", "", "devtmpfs#11", "ENOENT", "x" * 30, "x" * 26)
_PATH = 2
_USUAL_PATH = 40
_INDENT = " " * 11


def asker_words(asker: Asker | None) -> str:
    """``badfn [bad]``, ``?`` where the stack is lost; escaped."""
    return "?" if asker is None else escape_text(asker.label)


def lookup_titles() -> list[str]:
    """The titles of :func:`lookup_cells`."""
    return [column.title for column in _COLUMNS]


def lookup_cells(judged: Judged) -> list[str]:
    """TIME, WHO, PATH, START, RESULT, ASKED BY and MEANS of a lookup, escaped."""
    lookup = judged.lookup
    return [
        f"{lookup.time_s:.3f}",
        escape_text(comm_and_pid(lookup.comm, lookup.pid)),
        escape_text(path_words(lookup)),
        escape_text(place_words(lookup.start)),
        result_name(lookup.result),
        asker_words(judged.asker),
        escape_text(judged.meaning.says),
    ]


def stack_lines(judged: Judged) -> list[str]:
    """The whole stack, a frame a line, innermost first; escaped."""
    if not judged.lookup.stack:
        return [f"{_INDENT}(its stack was lost)"]
    return [f"{_INDENT}{escape_text(frame_label(frame))}" for frame in judged.lookup.stack]


def lookup_lines(width: int | None) -> RowLines:
    """Lines for the cells of :func:`lookup_cells`.

    :param width: columns of the terminal; ``None`` (for files and pipes): nothing is cut or left out
    """
    others = sum(map(display_width, _USUAL)) + 2 * (len(_USUAL) - 1)
    room = _USUAL_PATH if width is None else max(_USUAL_PATH, width - others)
    usual = tuple("x" * room if place == _PATH else cell for place, cell in enumerate(_USUAL))
    return RowLines(_COLUMNS, usual, width)
