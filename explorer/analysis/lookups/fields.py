"""What queries ask of a lookup: the language of tasks, with fields of its own."""

from __future__ import annotations

from collections.abc import Callable

from explorer.analysis.query import FIELDS, FieldType, Query, RowField, Value, parse_query, row_predicate
from explorer.model import KernelText, Lookup, LookupPlace, Placement, escape_text

from .meaning import Judged, LookupMeaning
from .results import result_name

__all__ = ("LOOKUP_FIELDS", "lookup_matches", "parse_lookup_query", "path_words", "place_words")


_EMPTY = '""'


def path_words(lookup: Lookup) -> KernelText:
    """The path as it is shown: ``?`` if it is not known, ``""`` if it is empty, ``…`` behind one that goes on. Not
    escaped."""
    if lookup.path is None:
        return "?"
    return f"{lookup.path or _EMPTY}{'…' if lookup.path_cut else ''}"


def place_words(place: LookupPlace | None) -> str:
    """``nullfs#3:/``, ``rootfs#2``: where on the mount it started is only known of nullfs, which has one directory.

    Not escaped; where the filesystem is not known the placement, ``?`` where neither is.
    """
    if place is None:
        return "?"
    name = place.fstype or (place.placement.value if place.placement is not None else "?")
    number = "" if place.id is None else f"#{place.id}"
    return f"{name}{number}{':/' if name == 'nullfs' else ''}"


def _of_lookup(name: str) -> Callable[[Judged], Value]:
    def get(judged: Judged) -> Value:
        value: Value = getattr(judged.lookup, name)
        return value

    return get


def _of_place(which: str) -> Callable[[Judged], Value]:
    def get(judged: Judged) -> Value:
        place = getattr(judged.lookup, which)
        return None if place is None else place_words(place)

    return get


def _placement(judged: Judged) -> Value:
    place = judged.lookup.start or judged.lookup.root
    return None if place is None or place.placement is None else place.placement.value


def _kind(judged: Judged) -> Value:
    return None if judged.lookup.kind is None else judged.lookup.kind.value


def _result(judged: Judged) -> Value:
    result = judged.lookup.result
    return None if result is None else (result_name(result), str(result))


def _runs(name: str) -> Callable[[Judged], Value]:
    def get(judged: Judged) -> Value:
        value: Value = None if judged.runs is None else getattr(judged.runs, name)
        return value

    return get


def _stack(judged: Judged) -> Value:
    names = dict.fromkeys(frame.function for frame in judged.lookup.stack or () if frame.function is not None)
    return tuple(names) or None


_DECLARED = (
    RowField("time", FieldType.SECONDS, _of_lookup("time_s")),
    RowField("pid", FieldType.NUMBER, _of_lookup("pid")),
    RowField("comm", FieldType.TEXT, _of_lookup("comm")),
    RowField("kind", FieldType.CHOICE, _kind, choices=FIELDS["kind"].choices, also=FIELDS["kind"].also),
    RowField("path", FieldType.TEXT, _of_lookup("path")),
    RowField("start", FieldType.TEXT, _of_place("start")),
    RowField("root", FieldType.TEXT, _of_place("root")),
    RowField("placement", FieldType.CHOICE, _placement, choices=tuple(each.value for each in Placement)),
    RowField("result", FieldType.TEXT, _result),
    RowField("tries", FieldType.NUMBER, _of_lookup("tries")),
    RowField("asker", FieldType.TEXT, lambda judged: None if judged.asker is None else judged.asker.function),
    RowField("module", FieldType.TEXT, lambda judged: judged.module),
    RowField(
        "taint", FieldType.TEXT, lambda judged: None if judged.asker is None else judged.asker.taint or None
    ),
    RowField("func", FieldType.TEXT, _runs("work")),
    RowField("workqueue", FieldType.TEXT, _of_lookup("workqueue")),
    RowField("threadfn", FieldType.TEXT, _runs("thread")),
    RowField("stack", FieldType.TEXT, _stack),
    RowField(
        "meaning",
        FieldType.CHOICE,
        lambda judged: judged.meaning.kind.value,
        choices=tuple(each.value for each in LookupMeaning),
        also={"bad": (LookupMeaning.FAILS.value, LookupMeaning.WOULD_FAIL.value)},
    ),
    RowField(
        "failed", FieldType.FLAG, lambda judged: judged.lookup.result is not None and judged.lookup.result < 0
    ),
    RowField("kernel", FieldType.FLAG, _of_lookup("in_kernel")),
)

#: Those of a lookup, by name, in the order in which help shows them.
LOOKUP_FIELDS = {field.name: field for field in _DECLARED}


def parse_lookup_query(text: str) -> Query:
    """A query over lookups. :raises QueryError: if it is none"""
    return parse_query(text, LOOKUP_FIELDS)


def lookup_matches(query: Query) -> Callable[[Judged], bool]:
    """Whether a lookup matches: asked of each as it comes. Free text is the pid, or part of what a table shows."""
    return row_predicate(query, LOOKUP_FIELDS, _shown)


def _shown(judged: Judged) -> tuple[str, ...]:
    """What free text is looked for in, escaped."""
    lookup, asker = judged.lookup, judged.asker
    texts = (
        lookup.comm,
        lookup.path,
        place_words(lookup.start),
        result_name(lookup.result),
        None if asker is None else asker.label,
        judged.meaning.says,
    )
    return (*(escape_text(text) for text in texts if text is not None), str(lookup.pid))
