"""What the word at the end of a query may become: a field, a flag, or a value of the field before it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from .ast import Comparison
from .facts import FieldType, QueryField, find_field
from .parse import QueryError, parse_query

__all__ = ("Completion", "complete_query", "put_right")

#: Values of a field that are offered.
_MOST = 200
_VALUE = re.compile(
    r"""(?:^|[\s(])(?P<field>[A-Za-z_][\w.]*)[ \t]*(?P<sign>:|~|!=|<=|>=|==|=|<|>)[ \t]*"""
    r"""(?P<part>"[^"]*|'[^']*|[^\s()"':~!<>=][^\s()"']*|)$"""
)
_SIGNS = (":", "~", "=", "<", ">")
_WORD = re.compile(r"""(?:^|[\s(])(?P<part>[^\s()"':~!<>=]*)$""")


@dataclass(frozen=True, slots=True)
class Completion:
    """Ways to end a text."""

    start: int
    """Where what they stand for begins."""
    words: tuple[str, ...]
    """As they are written: a value with blanks is in quotes."""

    @property
    def common(self) -> str:
        """How all of them begin."""
        return os.path.commonprefix(list(self.words))  # noqa: RUF071  # character by character is what is meant


def complete_query(
    text: str, fields: Mapping[str, QueryField], values: Callable[[str], Iterable[str]]
) -> Completion:
    """What may stand at the end of ``text``, sorted; no words: nothing is known that does.

    :param values: field -> what rows have for it, as they are shown: each once, sorted
    """
    match = _VALUE.search(text)
    if match is not None:
        field = find_field(match["field"], fields)
        start = match.start("part")
        return Completion(start, () if field is None else tuple(_values(field, match["part"], values)))
    match = _WORD.search(text)
    if match is None:
        return Completion(len(text), ())
    part = match["part"].lower()
    names = [
        name if field.type is FieldType.FLAG else f"{name}:"
        for name, field in fields.items()
        if name.startswith(part)
    ]
    return Completion(match.start("part"), tuple(names))


def put_right(text: str, fields: Mapping[str, QueryField]) -> Completion:
    """What the word that is wrong in ``text`` may have been meant to be, if that is its last word."""
    try:
        parse_query(text, fields)
    except QueryError as error:
        wrong = text[error.position :]
        if not re.search(r"""[\s()"']""", wrong):
            # Where a field's name is wrong, its value stays.
            named = re.match(r"[\w.]+([:~!<>=].*)", wrong)
            rest = "" if named is None or text[: error.position].endswith(_SIGNS) else named[1]
            return Completion(error.position, tuple(f"{word}{rest}" for word in error.suggestions))
    return Completion(len(text), ())


def _values(field: QueryField, part: str, values: Callable[[str], Iterable[str]]) -> Iterator[str]:
    begun = part.lstrip("\"'").casefold()
    if field.type is FieldType.FLAG:
        choices: tuple[str, ...] = ("yes", "no")
    else:
        choices = field.choices
    known = choices or values(field.name)
    fitting = (value for value in known if value.casefold().startswith(begun))
    for value in islice(fitting, _MOST):
        if '"' not in value or "'" not in value:  # the language has no way to write both
            yield str(Comparison("", "", value))
