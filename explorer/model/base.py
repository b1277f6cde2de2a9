"""What every record of a snapshot is made of: addresses, masks and kernel text."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

__all__ = ("Address", "HexInt", "KernelText", "Record", "hex_address")

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
    BeforeValidator(_from_hex),
    Field(ge=0, lt=1 << 64),
    PlainSerializer(hex_address, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _HEX_PATTERN}),
]

#: A kernel address: an ``int`` in Python, a ``0x`` string in an export.
Address = HexInt

#: Bytes that came from the kernel, decoded as UTF-8 with ``surrogateescape``: lossless, and never to be
#: printed without :func:`explorer.model.text.escape_text`.
KernelText = str


class Record(BaseModel):
    """Base of every model: unknown fields of a newer writer are ignored, so that newer snapshots load."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def build(cls, values: dict[str, Any]) -> Self:
        """Make a record from values that this program decoded itself, without validating them again.

        ``values`` must hold every field, and becomes the record's own dictionary.
        """
        record = cls.__new__(cls)
        set_slot = object.__setattr__
        set_slot(record, "__dict__", values)
        fields = _ALL_FIELDS.get(cls)
        if fields is None:
            fields = _ALL_FIELDS[cls] = set(cls.model_fields)
        set_slot(record, "__pydantic_fields_set__", fields)
        set_slot(record, "__pydantic_extra__", None)
        set_slot(record, "__pydantic_private__", None)
        return record


_ALL_FIELDS: dict[type[Record], set[str]] = {}
