"""What every record of a snapshot is made of: addresses, masks and kernel text."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from operator import attrgetter, is_not
from typing import Annotated, Any, ParamSpec, Self, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.fields import FieldInfo

__all__ = (
    "KERNEL_WORD",
    "Address",
    "HexInt",
    "KernelInt",
    "KernelText",
    "Record",
    "fields_of",
    "hex_address",
    "made",
    "no_garbage_collection",
)

_HEX_PATTERN = "^0x[0-9a-f]+$"


def hex_address(value: int) -> str:
    """The export's spelling of an address or a bit mask: ``0x`` and lower-case hex digits.

    JSON numbers lose bits past 2^53, so kernel addresses are never written as numbers.
    """
    return f"0x{value:x}"


def _from_hex(value: Any) -> Any:
    if isinstance(value, str):
        if not value.startswith("0x"):
            raise ValueError("expected a 0x-prefixed hexadecimal string")
        return int(value[2:], 16)
    return value


#: A bit mask or a magic number: an ``int`` in Python, a ``0x`` string in an export.
HexInt = Annotated[
    int,
    Field(ge=0, lt=1 << 64),  # in front of the validator in Python: so pydantic's own core holds it
    BeforeValidator(_from_hex),
    PlainSerializer(hex_address, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _HEX_PATTERN}),
]

#: A kernel address: an ``int`` in Python, a ``0x`` string in an export.
Address = HexInt

#: A number of the kernel's, signed or not: what 64 bits hold. Whatever is done with it fits a ``float``, and a line.
KernelInt = Annotated[int, Field(ge=-(1 << 63), lt=1 << 64), WithJsonSchema({"type": "integer"})]

#: Bytes that came from the kernel, decoded as UTF-8 with ``surrogateescape``: lossless, and never to be
#: printed without :func:`explorer.model.text.escape_text`.
KernelText = str

#: Marks a field, by ``Annotated``, that holds one of the kernel's own words and never a user's.
KERNEL_WORD = "a kernel's word"


class Record(BaseModel):
    """Base of every model: unknown fields of a newer writer are ignored, so that newer snapshots load.

    A float is finite: JSON has no other, and arithmetic with other ones ends in exceptions.
    """

    model_config = ConfigDict(extra="ignore", defer_build=True, allow_inf_nan=False)

    @classmethod
    def build(cls, values: dict[str, Any]) -> Self:
        """Make a record from values that this program decoded itself, without validating them again.

        ``values`` must hold every field, and becomes the record's own dictionary.
        """
        return cls.builder()(values)

    @classmethod
    def builder(cls) -> Callable[[dict[str, Any]], Self]:
        """:meth:`build` as a plain function: for whoever makes a hundred thousand of them."""
        known = _BUILDERS.get(cls)
        if known is None:
            known = _BUILDERS[cls] = _make_builder(cls)
        return known


def fields_of(records: Sequence[Record], *names: str) -> list[list[Any]]:
    """By field, that of every record: at once, where a table has it in a column (``__fields_of__`` of their type)."""
    of_table = getattr(type(records[0]), "__fields_of__", None) if records else None
    found: list[list[Any]] | None = None if of_table is None else of_table(records, names)
    if found is None:
        return [list(map(attrgetter(name), records)) for name in names]
    return found


def other_places(before: Sequence[object], after: Sequence[object]) -> list[int]:
    """The places at which two lists of one length have not the same object: frames share what did not change."""
    return list(compress(range(len(before)), map(is_not, before, after)))


_RecordT = TypeVar("_RecordT", bound=Record)
_SLOTS = ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")


def _make_builder(cls: type[_RecordT]) -> Callable[[dict[str, Any]], _RecordT]:
    new, fields = object.__new__, set(cls.model_fields)
    # The slots' own setters: to find them by name for each record is an eighth of what it costs.
    set_dict, set_fields, set_extra, set_private = (BaseModel.__dict__[slot].__set__ for slot in _SLOTS)

    def build(values: dict[str, Any]) -> _RecordT:
        record = new(cls)
        set_dict(record, values)
        set_fields(record, fields)
        set_extra(record, None)
        set_private(record, None)
        return record

    return build


_BUILDERS: dict[type[Record], Callable[[dict[str, Any]], Any]] = {}
_P = ParamSpec("_P")


def made(record: Callable[_P, _RecordT]) -> Callable[_P, _RecordT]:
    """The constructor of a record, for values that this program decoded itself: nothing is validated, or copied.

    What validates a record is made of its fields when it is first needed, which takes a millisecond.
    """
    assert isinstance(record, type)
    cls: type[_RecordT] = record
    build, fields = cls.builder(), tuple(cls.model_fields)
    # Not by the field's own method, which looks at the signature of a factory each time.
    defaults = {
        name: _default_of(field) for name, field in cls.model_fields.items() if not field.is_required()
    }

    def make(*_: _P.args, **values: _P.kwargs) -> _RecordT:
        return build({name: values[name] if name in values else defaults[name]() for name in fields})

    return make


def _default_of(field: FieldInfo) -> Callable[[], Any]:
    """Of a factory that takes nothing, as all of the vocabulary's do."""
    if field.default_factory is None:
        return lambda: field.default
    return cast("Callable[[], Any]", field.default_factory)


#: So many new objects are worth a walk through all that is frozen, which is what it takes to see whether anything is.
_MANY_OBJECTS = 10_000
#: Python 3.12 keeps what never ends (some hundreds of objects) among the frozen itself, from each collection on.
_FROZEN_BY_NOBODY = 10_000


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """For work that makes a million objects and no cycles: looking for some among them is a third of its time.

    They must not be looked through right afterwards either, as one enormous youngest generation: they are put where
    what has been there for long is, unless something is kept frozen, which that would end.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            if gc.get_count()[0] > _MANY_OBJECTS and gc.get_freeze_count() < _FROZEN_BY_NOBODY:
                gc.freeze()
                gc.unfreeze()
            gc.enable()
