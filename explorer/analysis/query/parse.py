"""The query language of ``--where`` and of the screen's filter box: which tasks of a snapshot are meant.

::

    kind:kernel placement:nullfs comm~kworker users>1 not borrowing (pid:1 or ppid:2)

===================  =====================================================================================
``a b``, ``a and b``  both; binds tighter than ``or``
``a or b``            either
``not a``             binds tightest; parentheses group
``field:value``       equal; text may hold the shell's wildcards ``*`` and ``?``; ``=`` is the same
``field!=value``      the same as ``not field:value``
``field~value``       text contains the value, in any case; ``*`` and ``?`` as above, ``^`` at its start and
                      ``$`` at its end tie it to the start or end of the text
``field<value``       and ``<=``, ``>``, ``>=``: for numbers
``flag``              ``borrowing``, ``exited``, ``mismatch``, ``walking``; also ``flag:yes``, ``flag:no``;
                      a word that is nearly one of these is refused, and told which
anything else         free text: the pid, or contained in name or path, as with ``~``; a kernel address: who it has
                      to do with (in whose task, stack, fs_struct, mount or namespace it lies)
===================  =====================================================================================

Values with blanks or parentheses go in quotes, ``"…"`` or ``'…'``; a word in quotes that stands alone is always free
text. There is no escape character: text is compared as it is shown, so ``\\e`` in a query is ``\\e`` on the screen.
A task without the value asked for (it has exited, or it could not be read) equals nothing and is less than nothing;
``not workqueue:*`` finds it.

``~`` takes wildcards, not regular expressions, on purpose: a match takes time linear in the text, whatever is typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, NoReturn

import lark

from explorer.model import Snapshot, display_width, escape_text

from .ast import Comparison, Everything, Flag, Node, Not, Text, all_of, any_of
from .facts import FIELDS, FieldType, QueryField, aliases_of, find_field
from .field import groups_of
from .match import NO, NUMERIC, TEXTUAL, YES, Compiler, Predicate, chosen, is_short_address, parse_number
from .misspelt import nearly

__all__ = ("MAX_DEPTH", "MAX_LENGTH", "Query", "QueryError", "compile_query", "parse_query")

#: Characters of a query, and parentheses and ``not`` around one another.
MAX_LENGTH = 4096
MAX_DEPTH = 50


_NUMBER_WORDS = {
    FieldType.NUMBER: "a number: decimal, or hexadecimal behind 0x",
    FieldType.ADDRESS: "an address behind 0x, or as a table shows it, such as …4274c5c0",
    FieldType.SECONDS: "a number of seconds, such as 1.5",
    FieldType.OCTAL: "an octal number, such as 022",
}


class QueryError(Exception):
    """A query that cannot be understood.

    ``str()`` is one line with the column; :meth:`render` points at the place. ``position`` counts characters of
    ``query`` from 0, up to its length; ``suggestions`` are what may have been meant.
    """

    is_begun = False
    """What would make it right may follow: who still types is not wrong yet."""

    def __init__(self, query: str, position: int, message: str, suggestions: tuple[str, ...] = ()) -> None:
        self.query, self.position, self.suggestions = query, position, suggestions
        self.message = message
        if suggestions:
            self.message += f"; did you mean {' or '.join(suggestions)}?"
        super().__init__(f"column {position + 1}: {self.message}")

    def render(self) -> str:
        """Three lines: the query, a caret below what is wrong, and what it is."""
        before, after = escape_text(self.query[: self.position]), escape_text(self.query[self.position :])
        if len(before) > 60:
            before = "…" + before[-59:]
        return f"{before}{after[:60]}\n{' ' * display_width(before)}^\n{self.message}"


@dataclass(frozen=True, slots=True)
class Query:
    """A query that is known to be right; ``str()`` is its canonical text."""

    root: Node

    def __str__(self) -> str:
        return str(self.root)

    def bind(self, snapshot: Snapshot) -> Predicate:
        """The query as a predicate over the tasks of one snapshot. It keeps what it has decided: make it, use it."""
        return Compiler(snapshot).compile(self.root)


def parse_query(text: str, fields: Mapping[str, QueryField] = FIELDS) -> Query:
    """Parse and check a query. :param fields: what may be asked for, by name in lower case: of tasks, or a table's own

    :raises QueryError: and nothing else, whatever ``text`` is
    """
    if len(text) > MAX_LENGTH:
        raise QueryError(text, MAX_LENGTH, f"a query has at most {MAX_LENGTH} characters")
    builder = _Builder(text, fields)
    try:
        tree = _parser().parse(text)
        node, _ = builder.transform_tree(tree)
    except lark.exceptions.UnexpectedInput as error:
        _refuse(text, error)
    return Query(node)


def compile_query(text: str, snapshot: Snapshot) -> Predicate:
    """``parse_query(text).bind(snapshot)``. :raises QueryError: if the text is no query"""
    return parse_query(text).bind(snapshot)


def _refuse(text: str, error: lark.exceptions.UnexpectedInput) -> NoReturn:
    """Say in words what the parser met."""
    position = error.pos_in_stream
    token = getattr(error, "token", None)
    if position is None or position < 0 or (token is not None and token.type == "$END"):
        position = len(text)
    wants_value = "QUOTED" in _expected(error) and "LPAR" not in _expected(error)
    found = text[position : position + 1]
    if found in ("'", '"') and found not in text[position + 1 :]:
        raise _unfinished(text, position, "this quote is not closed") from error
    if wants_value:
        message = "a value is missing here; one with blanks goes in quotes"
        make = QueryError if found or text[-1:].isspace() else _unfinished
        raise make(text, position, message) from error
    if not found:
        if "_RPAR" in _expected(error):
            raise _unfinished(text, position, "a ) is missing here") from error
        raise _unfinished(text, position, "the query stops short: something must follow") from error
    if found == ")":
        message = "there is nothing between these" if "LPAR" in _expected(error) else "this ) closes nothing"
        raise QueryError(text, position, message) from error
    if found in ":~!<>=":
        raise QueryError(text, position, "a field's name must stand before the operator") from error
    raise QueryError(text, position, "this does not fit here") from error


def _unfinished(text: str, position: int, message: str) -> QueryError:
    """That there is something wrong with the end, where more may follow."""
    error = QueryError(text, position, message)
    error.is_begun = True
    return error


def _expected(error: lark.exceptions.UnexpectedInput) -> set[str]:
    return set(getattr(error, "expected", None) or getattr(error, "allowed", None) or ())


@cache
def _parser() -> lark.Lark:
    return lark.Lark.open("grammar.lark", rel_to=__file__, parser="lalr", lexer="contextual")


#: A node, and how deeply parentheses and nots are nested in it.
_Nested = tuple[Node, int]


def _near_words(value: str, field: QueryField, words: tuple[str, ...]) -> tuple[str, ...]:
    """Words that may have been meant, in any case, and for an older word the one that it stands for."""
    by_lower = {word.lower(): word for word in words}
    by_lower |= {
        word.lower(): stands_for[0]
        for word, stands_for in field.also.items()
        if len(stands_for) == 1 and word.lower() not in by_lower
    }
    near = get_close_matches(value.lower(), by_lower, 3)
    return tuple(dict.fromkeys(by_lower[word] for word in near))


class _Builder:
    """Makes the query's tree from the parser's, and checks names and values on the way."""

    def __init__(self, text: str, fields: Mapping[str, QueryField]) -> None:
        self._text = text
        self._fields = fields
        self._flags = tuple(name for name, field in fields.items() if field.type is FieldType.FLAG)

    def transform_tree(self, tree: lark.Tree[lark.Token]) -> _Nested:
        """Bottom up, without recursion: the depth of what users type is not known yet."""
        done: dict[int, _Nested] = {}
        for subtree in tree.iter_subtrees():
            parts = [
                child if isinstance(child, lark.Token) else done[id(child)] for child in subtree.children
            ]
            handler: Callable[[list[Any]], _Nested] = getattr(self, f"_{subtree.data}")
            done[id(subtree)] = handler(parts)
        return done[id(tree)]

    def _everything(self, parts: list[Any]) -> _Nested:
        return Everything(), 0

    def _disjunction(self, parts: list[_Nested]) -> _Nested:
        return any_of(node for node, _ in parts), max(depth for _, depth in parts)

    def _conjunction(self, parts: list[_Nested]) -> _Nested:
        return all_of(node for node, _ in parts), max(depth for _, depth in parts)

    def _deeper(self, parts: list[Any]) -> int:
        token, (_, depth) = parts
        if depth >= MAX_DEPTH:
            self._fail(token.start_pos, f"more than {MAX_DEPTH} parentheses and nots inside one another")
        return int(depth) + 1

    def _negation(self, parts: list[Any]) -> _Nested:
        return Not(parts[1][0]), self._deeper(parts)

    def _group(self, parts: list[Any]) -> _Nested:
        return parts[1][0], self._deeper(parts)

    def _word(self, parts: list[lark.Token]) -> _Nested:
        word = str(parts[0])
        if word.lower() in self._flags:
            return Flag(word.lower()), 0
        near = nearly(word.lower(), self._flags)
        if near:
            message = f'there is no flag {word}; as text it goes in quotes, "{word}"'
            self._fail(parts[0].start_pos or 0, message, near, (word, self._flags))
        return Text(word), 0

    def _quoted(self, parts: list[lark.Token]) -> _Nested:
        return Text(str(parts[0])[1:-1]), 0

    def _comparison(self, parts: list[lark.Token]) -> _Nested:
        match = re.match(r"([\w.]+)[ \t]*([^ \t]+)", parts[0])
        assert match is not None  # the terminal says so
        name, sign = match[1].lower(), match[2]
        sign = ":" if sign in ("=", "==") else sign
        start = parts[0].start_pos or 0
        field = find_field(name, self._fields)
        if field is None:
            aliases = aliases_of(self._fields)
            near: dict[str, None] = dict.fromkeys(
                aliases.get(close) or close for close in get_close_matches(name, [*self._fields, *aliases], 3)
            )
            self._fail(start, f"there is no field {match[1]}", tuple(near) or None)
        value = str(parts[1])
        value = value[1:-1] if parts[1].type == "QUOTED" else value
        self._check(field, sign, value, (start + match.start(2), parts[1].start_pos or 0))
        return Comparison(field.name, sign, value), 0

    def _check(self, field: QueryField, sign: str, value: str, places: tuple[int, int]) -> None:
        """The operator suits the field, and the value can be one of the field's."""
        sign_at, value_at = places
        if field.type not in NUMERIC and sign in ("<", "<=", ">", ">="):
            self._fail(
                sign_at, f"{sign} is for numbers, and {field.name} is none; say {field.name}:… instead"
            )
        if field.type not in TEXTUAL and sign == "~":
            self._fail(sign_at, f"~ is for text, and {field.name} is none; say {field.name}:… instead")
        if field.type is FieldType.FLAG and value.lower() not in YES | NO:
            self._fail(value_at, f"{field.name} is yes or no", (), (value, YES | NO))
        if field.type in NUMERIC and parse_number(field.type, value) is None:
            self._check_name(field, sign, value, value_at)
        if field.type is FieldType.CHOICE and not chosen(field, sign, value):
            words = (*field.choices, *groups_of(field))
            message = f"{field.name} is one of {', '.join(words)}"
            self._fail(value_at, message, _near_words(value, field, words), (value, (*words, *field.also)))

    def _check_name(self, field: QueryField, sign: str, value: str, value_at: int) -> None:
        """Of some addresses there is a name, which one is, and the end is enough; neither has an order."""
        if sign in (":", "!=") and (value in field.choices or is_short_address(field, value)):
            return
        message = f"{field.name} is {_NUMBER_WORDS[field.type]}"
        if field.choices:
            message += f"; {' and '.join(field.choices)} go by their names"
        near = tuple(get_close_matches(value.lower(), field.choices, 3)) if sign in (":", "!=") else ()
        self._fail(value_at, message, near, (value, field.choices))

    def _fail(
        self,
        position: int,
        message: str,
        suggestions: tuple[str, ...] | None = (),
        begun: tuple[str, Iterable[str]] = ("", ()),
    ) -> NoReturn:
        """:param begun: the word that is wrong, and those that would not be"""
        if suggestions is None:
            message += f"; there are {', '.join(self._fields)}"
        error = QueryError(self._text, position, message, suggestions or ())
        word, known = begun
        if self._text[position:].lstrip("\"'") == word:  # nothing follows it, not even a blank or a quote
            error.is_begun = any(other.lower().startswith(word.lower()) for other in known)
        raise error
