"""A list in all forms that a command offers: a table on a terminal, Markdown, and rows as JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from explorer.compression import method_of_name
from explorer.output.files import check_writable, open_output
from explorer.output.markdown import write_markdown
from explorer.output.rows import RowFormat, RowSet, write_rows
from explorer.output.table import Table, fit, wrap_lines

__all__ = ("LISTING_FORMS", "Listing", "ListingForm", "form_of_name", "write_listing")

ListingForm = Literal["text", "markdown", "json", "csv"]
LISTING_FORMS: tuple[ListingForm, ...] = ("text", "markdown", "json", "csv")


@dataclass(frozen=True)
class Listing:
    """What is said above and below a table, the table, and its rows."""

    title: str
    summary: Sequence[str]
    """Escaped sentences."""
    table: Table
    rows: RowSet
    notes: Sequence[str] = ()
    """Escaped sentences that stand below the table."""


def form_of_name(path: Path | None) -> ListingForm:
    """The form that a file's name asks for, behind the suffix of a compression; text if it asks for none."""
    if path is None:
        return "text"
    method = method_of_name(path.name)
    name = path.name if method is None else path.name.removesuffix(method.suffix)
    asked: dict[str, ListingForm] = {
        RowFormat.JSON.suffix: "json",
        RowFormat.CSV.suffix: "csv",
        RowFormat.MARKDOWN.suffix: "markdown",
    }
    return asked.get(Path(name).suffix, "text")


def write_listing(listing: Listing, form: ListingForm, path: Path | None, width: int | None) -> None:
    """Write to a file, whole or not at all, or to standard output. :param width: of a terminal, for text

    :raises OutputError: if it cannot be written
    """
    if path is not None:
        check_writable(path)
    with open_output(path) as out:
        _write(listing, form, out, width)


def _write(listing: Listing, form: ListingForm, out: BinaryIO, width: int | None) -> None:
    if form == "text":
        for line in _lines(listing, width):
            out.write(f"{line if width is None else fit(line, width)}\n".encode())
    elif form == "markdown":
        table = listing.table
        titles = [column.title for column in table.columns]
        write_markdown(listing.title, titles, table.rows, out, [*listing.summary, *listing.notes])
    else:
        write_rows(listing.rows, RowFormat(form), out)


def _lines(listing: Listing, width: int | None) -> list[str]:
    lines = wrap_lines(listing.summary, width)
    if listing.table.rows:
        lines += ["", *listing.table.lines(width)]
    if listing.notes:
        lines += ["", *wrap_lines(listing.notes, width)]
    return lines
