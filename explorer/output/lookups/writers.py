"""Lookups written as they come, in any form; what is said of them together comes when there are no more.

``text`` and ``jsonl`` are written line by line, so that whoever waits for one sees it; the others stand on the whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

from explorer.analysis.lookups import Judged, ModuleReadiness, Summary
from explorer.codec import encode_value
from explorer.compression import method_of_name
from explorer.model import Lookup, TraceEnd, TraceHeader

from .documents import judged_members, readiness_members, summary_members, trace_sarif
from .lines import lookup_cells, lookup_lines, stack_lines
from .words import heading_lines, readiness_lines, summary_lines

__all__ = (
    "LOOKUP_FORMS",
    "LookupForm",
    "LookupWriter",
    "Told",
    "Written",
    "lookup_form_of_name",
    "lookup_writer",
)

LookupForm = Literal["table", "json", "jsonl", "sarif"]
LOOKUP_FORMS: tuple[LookupForm, ...] = ("table", "json", "jsonl", "sarif")


@dataclass(frozen=True, slots=True)
class Written:
    """What is to be written."""

    header: TraceHeader
    name: str
    """Of the file or the target; not escaped."""
    width: int | None
    """Columns of a terminal; ``None``: nothing is cut."""
    stacks: bool
    """In a table, the stack of each lookup too."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of all lookups together."""

    summary: Summary
    end: TraceEnd | None
    modules: Sequence[ModuleReadiness] | None
    """A readiness report, where one was asked for."""
    exit_code: int


class LookupWriter(Protocol):
    """Called in this order: :meth:`lookup` for each, then :meth:`finish`."""

    def lookup(self, judged: Judged) -> None: ...

    def finish(self, told: Told) -> None:
        """There are no more."""


def lookup_form_of_name(path: Path | None) -> LookupForm:
    """The form that a file's name asks for, behind the suffix of a compression; a table if it asks for none."""
    if path is None:
        return "table"
    method = method_of_name(path.name)
    name = path.name if method is None else path.name.removesuffix(method.suffix)
    asked: dict[str, LookupForm] = {".json": "json", ".jsonl": "jsonl", ".sarif": "sarif"}
    return asked.get(Path(name).suffix, "table")


def lookup_writer(form: LookupForm, written: Written, out: BinaryIO) -> LookupWriter:
    """A writer in that form, which has begun."""
    writers: dict[LookupForm, type[_Table | _Json | _JsonLines | _Sarif]] = {
        "table": _Table,
        "json": _Json,
        "jsonl": _JsonLines,
        "sarif": _Sarif,
    }
    return writers[form](written, out)


def _dump(value: Any) -> bytes:
    return encode_value(value).encode()


class _Table:
    def __init__(self, written: Written, out: BinaryIO) -> None:
        self._written, self._out = written, out
        self._lines = lookup_lines(written.width)
        self._any = False
        self._write(heading_lines(written.header, written.name, written.width))

    def _write(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._out.write(f"{line}\n".encode())
        self._out.flush()

    def lookup(self, judged: Judged) -> None:
        head = [] if self._any else ["", self._lines.header]
        self._any = True
        self._write(
            [
                *head,
                self._lines.line(lookup_cells(judged)),
                *(stack_lines(judged) if self._written.stacks else []),
            ]
        )

    def finish(self, told: Told) -> None:
        width = self._written.width
        notes = self._lines.notes if self._any else []
        self._write([*notes, "", *summary_lines(told.summary, told.end, width)])
        if told.modules is not None:
            self._write(readiness_lines(told.modules, width))


class _Json:
    """``{"schema_version": 1, "trace": {…}, "lookups": [{…}], "end": {…}, "summary": {…}, "modules": …}``."""

    def __init__(self, written: Written, out: BinaryIO) -> None:
        self._out = out
        self._any = False
        head = {"schema_version": 1, "target": written.name, "trace": written.header.model_dump(mode="json")}
        out.write(_dump(head)[:-1] + b',"lookups":[')

    def lookup(self, judged: Judged) -> None:
        document = {**judged.lookup.model_dump(mode="json"), "judged": judged_members(judged)}
        self._out.write((b",\n" if self._any else b"\n") + _dump(document))
        self._any = True

    def finish(self, told: Told) -> None:
        tail = {
            "end": None if told.end is None else told.end.model_dump(mode="json"),
            "summary": summary_members(told.summary, told.end),
            "modules": None if told.modules is None else readiness_members(told.modules),
        }
        self._out.write(b"\n]," + _dump(tail)[1:] + b"\n")


class _JsonLines:
    """A trace again, with what each lookup means beside it: what reads traces reads this."""

    def __init__(self, written: Written, out: BinaryIO) -> None:
        self._out = out
        self._line({"header": written.header.model_dump(mode="json")})

    def _line(self, document: dict[str, Any]) -> None:
        self._out.write(_dump(document) + b"\n")
        self._out.flush()

    def lookup(self, judged: Judged) -> None:
        lookup: Lookup = judged.lookup
        self._line({"lookup": lookup.model_dump(mode="json"), "judged": judged_members(judged)})

    def finish(self, told: Told) -> None:
        """A trace without an end stays one."""
        if told.end is None:
            return
        end = told.end.model_copy(update={"lookups": told.summary.lookups})
        found: dict[str, Any] = {"end": end.model_dump(mode="json")}
        if told.modules is not None:
            found["modules"] = readiness_members(told.modules)
        self._line(found)


class _Sarif:
    def __init__(self, written: Written, out: BinaryIO) -> None:
        self._written, self._out = written, out

    def lookup(self, judged: Judged) -> None:
        """Results stand for all lookups of one who asked."""

    def finish(self, told: Told) -> None:
        log = trace_sarif(self._written.header, self._written.name, told.summary, told.end, told.exit_code)
        self._out.write(json.dumps(log, ensure_ascii=True, indent=2).encode() + b"\n")
