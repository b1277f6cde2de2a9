"""How the values of a record's fields stand in the text of ``write_json``: what matches, and what it means.

Made of the types of the fields, as :mod:`.encode` is. A text that matches is valid for the model, and is, byte for
byte, what is written for its value again: the tests hold this against pydantic and against the encoder. What is valid
and does not match is left to pydantic.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import PlainSerializer

from explorer.model import KernelInt, Record, hex_address

__all__ = ("FieldText", "field_texts")

_HEX = rb'"0x(?:0|[1-9a-f][0-9a-f]{0,15}+)"'
#: 18 digits fit 64 bits, whatever they are.
_INT = rb"(?:0|-?[1-9][0-9]{0,17}+)"
#: Of 15 digits at most, each of which a float keeps, and not so small that it is written with an exponent.
_FLOAT = rb"-?(?:0\.(?!0000)|[1-9][0-9]{0,8}+\.)(?:[0-9]{0,5}[1-9]|0)"
#: As Python's ``json`` escapes: what is outside ASCII and controls; the latter by a letter where they have one.
_UNICODE = rb"00(?:0[0-7bef]|1[0-9a-f]|7f|[89a-f][0-9a-f])|0[1-9a-f][0-9a-f]{2}|[1-9a-f][0-9a-f]{3}"
_ESCAPE = rb'\\(?:["\\bfnrt]|u(?:' + _UNICODE + rb"))"
_STRING = rb'"[ !#-\[\]-~]*+(?:' + _ESCAPE + rb'[ !#-\[\]-~]*+)*+"'


@dataclass(frozen=True, slots=True)
class FieldText:
    """Of one type, ``None`` aside."""

    pattern: bytes
    """A regular expression without groups."""
    value: Callable[[Any], Any]
    """What the model holds, of what ``json`` makes of the text."""
    of_texts: Callable[[Iterable[bytes]], list[Any]]
    """The same of texts themselves."""
    of_record: bool = False
    """Each value is a record."""


def _text(
    pattern: bytes, value: Callable[[Any], Any], of_text: Callable[[bytes], Any] | None = None
) -> FieldText:
    one = of_text or (lambda text: value(json.loads(text)))
    return FieldText(pattern, value, lambda texts: list(map(one, texts)))


def _same(value: Any) -> Any:
    return value


def _string(text: bytes) -> str:
    return str(json.loads(text)) if b"\\" in text else text[1:-1].decode()


_PLAIN = {
    str: _text(_STRING, _same, _string),
    int: _text(_INT, _same, int),
    float: _text(_FLOAT, _same, float),
    bool: _text(b"(?:true|false)", _same, {b"true": True, b"false": False}.__getitem__),
}
_HEX_TEXT = FieldText(
    _HEX, lambda value: int(value, 16), lambda texts: [int(text[1:-1], 16) for text in texts]
)
#: Most of what is read are addresses: each is looked at once.
_HEX_OR_NULL = FieldText(
    rb"(?:" + _HEX + rb"|null)",
    lambda value: None if value is None else int(value, 16),
    lambda texts: [None if text == b"null" else int(text[1:-1], 16) for text in texts],
)


def field_texts(record: type[Record]) -> dict[str, FieldText] | None:
    """For every field, in order; ``None`` if a field is of a type that is left to pydantic."""
    validators = record.__pydantic_decorators__
    if validators.validators or validators.field_validators or validators.model_validators:
        return None
    hints = get_type_hints(record, include_extras=True)
    try:
        return {name: _of_type(hints[name]) for name in record.model_fields}
    except TypeError:
        return None


def _of_type(hint: Any) -> FieldText:
    """:raises TypeError: for a type that is left to pydantic"""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint == KernelInt:
        return _PLAIN[int]
    if origin is Annotated:
        if any(isinstance(mark, PlainSerializer) and mark.func is hex_address for mark in arguments):
            return _HEX_TEXT
        if all(isinstance(mark, str) for mark in arguments[1:]):
            return _of_type(arguments[0])
        raise TypeError(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return _or_null(_of_type(inner))
    if origin is Literal:
        return _of_words({str(word): word for word in arguments})
    if origin is list:
        return _of_list(_of_type(arguments[0]))
    if isinstance(hint, type) and issubclass(hint, Record):
        return _of_record(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _of_words({str(member.value): member for member in hint})
    if hint in _PLAIN:
        return _PLAIN[hint]
    raise TypeError(hint)


def _or_null(inner: FieldText) -> FieldText:
    if inner is _HEX_TEXT:
        return _HEX_OR_NULL
    value, of_texts = inner.value, inner.of_texts

    def of_texts_or_null(texts: Iterable[bytes]) -> list[Any]:
        given = list(texts)
        found = iter(of_texts(text for text in given if text != b"null"))
        return [None if text == b"null" else next(found) for text in given]

    return FieldText(
        rb"(?:" + inner.pattern + rb"|null)",
        lambda given: None if given is None else value(given),
        of_texts_or_null,
        inner.of_record,
    )


def _of_words(members: dict[str, Any]) -> FieldText:
    words = {word: json.dumps(word).encode() for word in members}
    if not all(
        word.isascii() and word.replace("-", "").replace("_", "").replace(" ", "").isalnum() for word in words
    ):
        raise TypeError(words)
    by_text = {text: members[word] for word, text in words.items()}
    return _text(b"(?:" + b"|".join(words.values()) + b")", members.__getitem__, by_text.__getitem__)


def _of_list(inner: FieldText) -> FieldText:
    pattern = rb"\[(?:" + inner.pattern + rb"(?:," + inner.pattern + rb")*+)?+\]"
    value = inner.value
    return _text(pattern, lambda given: [value(each) for each in given])


def _of_record(record: type[Record]) -> FieldText:
    texts = field_texts(record)
    if texts is None:
        raise TypeError(record)
    members = rb",".join(b'"%s":%s' % (name.encode(), text.pattern) for name, text in texts.items())
    build = record.builder()
    values = {name: text.value for name, text in texts.items()}
    text = _text(
        rb"\{" + members + rb"\}",
        lambda given: build({name: value(given[name]) for name, value in values.items()}),
    )
    return replace(text, of_record=True)
