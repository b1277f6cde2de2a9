"""Whether what a module calls ``PLUGIN`` is one, and what its errors say: a stranger's may have anything in any field.

What is not checked here would be met much later, in the midst of an audit of all others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from explorer.model import Generation, Owner, Placement

from .declare import Borrows, Expectation, Facts, Plugin, Speaks

__all__ = ("checked", "error_words")

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_PATTERNS = ("comm", "threadfn", "work", "workqueue")


def checked(found: Any) -> Plugin:
    """The plugin. :raises TypeError: if it is none, and which field is not what it should be"""
    if not isinstance(found, Plugin):
        raise TypeError(f"PLUGIN is a {type(found).__name__}, not a Plugin")
    for name, (is_right, what) in _FIELDS.items():
        if not is_right(getattr(found, name)):
            raise TypeError(f"{name} is not {what}")
    return found


def error_words(error: BaseException) -> str:
    """The class of an error of a plugin's, and what it says: of a stranger's class, which may do anything there too."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception as another:  # noqa: BLE001  # said in its place
        return f"{type(error).__name__}: its text cannot be had ({type(another).__name__})"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _tuple_of(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(is_right, value))


def _is_speaks(value: Any) -> bool:
    return isinstance(value, Speaks) and all(
        isinstance(getattr(value, name), str | None) for name in _PATTERNS
    )


def _is_borrows(value: Any) -> bool:
    return isinstance(value, Borrows) and _is_text(value.function) and _tuple_of(_is_text)(value.seen_as)


def _is_expectation(value: Any) -> bool:
    return (
        isinstance(value, Expectation)
        and _tuple_of(lambda owner: isinstance(owner, Owner))(value.owners)
        and _tuple_of(lambda placement: isinstance(placement, Placement))(value.roots)
    )


def _is_expected(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(generation, Generation) and _is_expectation(each) for generation, each in value.items()
    )


_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (
        lambda value: _is_text(value) and _NAME.fullmatch(value) is not None,
        "of letters, digits, - and _, at most 64 of them",
    ),
    "title": (_is_text, "a text"),
    "facts": (lambda value: isinstance(value, type) and issubclass(value, Facts), "a class of Facts"),
    "collect": (callable, "a function"),
    "audit": (callable, "a function"),
    "needs_modules": (_tuple_of(_is_text), "a tuple of texts"),
    "built_in": (_is_text, "a text"),
    "needs_symbols": (_tuple_of(_is_text), "a tuple of texts"),
    "speaks_for": (_tuple_of(_is_speaks), "a tuple of Speaks, of texts"),
    "expected": (_is_expected, "a mapping of Generation to Expectation, of Owner and Placement"),
    "borrows": (_tuple_of(_is_borrows), "a tuple of Borrows, of texts"),
}
