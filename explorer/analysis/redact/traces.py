"""Replace names in a trace of lookups, record by record as they come, by the rules for snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from explorer.model import Lookup, Record, TraceEnd, TraceHeader

from .snapshots import RedactionError, Redactor

__all__ = ("TraceRedactor",)

_RecordT = TypeVar("_RecordT", TraceHeader, Lookup, TraceEnd)


class TraceRedactor:
    """One mapping of words for one trace. Each record is looked through before it is given out."""

    def __init__(self, header: TraceHeader, seed: int | None = None) -> None:
        self._names = Redactor([header.release], seed)
        self._names.keep_vocabulary(TraceHeader, Lookup, TraceEnd)
        self.header = self.record(header)

    def record(self, record: _RecordT) -> _RecordT:
        """The same with other names.

        :raises RedactionError: if it cannot be redacted, or a name is left in it
        """
        redacted: _RecordT = self._names.record(record)
        left = self._names.leaks_in_texts(_texts(redacted))
        if left:
            raise RedactionError(
                f"{len(left)} names would be left in the output ({left[0][:2].decode('ascii', 'replace')}...): "
                "no more is written; please report it"
            )
        return redacted

    def text(self, text: str) -> str:
        """What stands for a text beside the records: the name of the file."""
        return self._names.text(text)


def _texts(record: Record) -> Iterator[str]:
    return _leaves(record.model_dump())


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
