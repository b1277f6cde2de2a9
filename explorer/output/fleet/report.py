"""A report on a fleet in all forms that the command offers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from explorer.compression import method_of_name
from explorer.fleet.summary import FleetSummary, ToldFindings
from explorer.output.files import check_writable, open_output
from explorer.output.markdown import escape_markdown, write_markdown
from explorer.output.table import fit, wrap_lines

from .documents import report_document
from .sarif import fleet_sarif
from .sections import Section, sections_of

__all__ = ("REPORT_FORMS", "ReportForm", "report_form_of_name", "write_report")

ReportForm = Literal["text", "markdown", "json", "sarif"]
REPORT_FORMS: tuple[ReportForm, ...] = ("text", "markdown", "json", "sarif")


def report_form_of_name(path: Path | None) -> ReportForm:
    """The form that a file's name asks for, behind the suffix of a compression; text if it asks for none."""
    if path is None:
        return "text"
    method = method_of_name(path.name)
    name = path.name if method is None else path.name.removesuffix(method.suffix)
    asked: dict[str, ReportForm] = {".json": "json", ".md": "markdown", ".sarif": "sarif"}
    return asked.get(Path(name).suffix, "text")


def write_report(
    summary: FleetSummary,
    told: ToldFindings | None,
    exit_code: int,
    form: ReportForm,
    path: Path | None,
    width: int | None,
) -> None:
    """Write to a file, whole or not at all, or to standard output.

    :param told: the findings one by one, for SARIF
    :param width: of a terminal, for text

    :raises OutputError: if it cannot be written
    """
    if path is not None:
        check_writable(path)
    with open_output(path) as out:
        if form == "json":
            _write_json(report_document(summary, exit_code), out)
        elif form == "sarif":
            assert told is not None, "SARIF is of the findings one by one"
            _write_json(fleet_sarif(summary, told, exit_code), out)
        elif form == "markdown":
            _write_markdown(sections_of(summary), out)
        else:
            for line in _lines(sections_of(summary), width):
                out.write(f"{line if width is None else fit(line, width)}\n".encode())


def _write_json(document: object, out: BinaryIO) -> None:
    out.write(json.dumps(document, ensure_ascii=True, indent=2).encode() + b"\n")


def _lines(sections: Sequence[Section], width: int | None) -> list[str]:
    lines: list[str] = []
    for section in sections:
        lines += ["", *wrap_lines([section.title], width), *wrap_lines(section.said, width)]
        if section.table is not None:
            lines += section.table.lines(width)
        lines += wrap_lines(section.notes, width)
    return lines[1:]


def _write_markdown(sections: Sequence[Section], out: BinaryIO) -> None:
    for place, section in enumerate(sections):
        if place:
            out.write(b"\n")
        if section.table is None:
            lines = [
                f"# {escape_markdown(section.title)}",
                "",
                *(f"- {escape_markdown(each)}" for each in section.said),
            ]
            out.write("".join(f"{line}\n" for line in lines).encode())
            continue
        titles = [column.title for column in section.table.columns]
        write_markdown(section.title, titles, section.table.rows, out, [*section.said, *section.notes])
