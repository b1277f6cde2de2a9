"""Pages of the ring buffer: every kind of entry is read as the kernel means it, and damage makes values missing."""

from __future__ import annotations

import random
import struct

import pytest

from explorer.tracing.formats import FormatError, parse_event_format, parse_page_header
from explorer.tracing.pages import DamagedPageError, Page, read_page
from tests.unit.tracing import ring

HEADER = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: char overwrite;\toffset:8;\tsize:1;\tsigned:0;\n"
    "\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n"
)


def read(page: bytes) -> Page:
    return read_page(page, ring.COMMIT_SIZE, ring.DATA_AT)


def test_events_come_out_with_the_time_that_deltas_extensions_and_stamps_add_up_to() -> None:
    long, short = b"x" * 200, b"abcd"
    seen = read(
        ring.page(
            1000,
            ring.event(short, 5),
            ring.event(long, 7),
            ring.absolute(30, (3 << 27) + 9),
            ring.event(short, 0),
            ring.absolute(31, (4 << 27) + 2),
            ring.event(short, 1),
        )
    )
    later = 1012 + (3 << 27) + 9
    assert seen.events == [(1005, short), (1012, long), (later, short), ((4 << 27) + 3, short)]
    assert seen.missed == 0


def test_a_stamp_keeps_the_bits_of_the_time_that_it_has_no_room_for() -> None:
    high = 3 << 59
    assert read(ring.page(high + 5, ring.absolute(31, 77), ring.event(b"abcd", 0))).events == [
        (high + 77, b"abcd")
    ]


def test_an_event_that_was_taken_back_is_skipped_and_the_rest_of_a_page_is_none() -> None:
    taken_back = struct.pack("<II", 3 << 5 | 29, 12) + b"\xff" * 8
    rest = struct.pack("<I", 29) + b"\xff" * 8
    assert read(ring.page(10, taken_back, ring.event(b"abcd", 1), rest)).events == [(14, b"abcd")]


def test_how_many_events_were_missed_is_known_only_where_the_page_says_it() -> None:
    one = ring.event(b"abcd")
    assert read(ring.page(0, one, flags=1 << 31 | 1 << 30, stored=17)).missed == 17
    assert read(ring.page(0, one, flags=1 << 31)).missed is None
    full = ring.page(0, one, flags=1 << 31 | 1 << 30, size=len(one) + 16)
    assert read(full[: len(one) + 16]).missed is None


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"x" * 15,
        struct.pack("<QQ", 0, 100) + b"x" * 50,
        ring.page(0, struct.pack("<I", 28) + b"abcd"),
        ring.page(0, struct.pack("<II", 0, 2)),
        ring.page(0, struct.pack("<II", 0, 1 << 31)),
        ring.page(0, struct.pack("<I", 31)),
    ],
)
def test_lengths_that_do_not_fit_are_said(page: bytes) -> None:
    with pytest.raises(DamagedPageError):
        read(page)


def test_no_page_of_garbage_is_read_for_ever_or_ends_in_another_error() -> None:
    dice = random.Random(18)
    whole = ring.page(7, *(ring.event(ring.path_event(1, 2, b"/" * length)) for length in range(0, 400, 31)))
    outcomes: set[bool | None] = set()
    for _ in range(3000):
        page = bytearray(whole if dice.random() < 0.7 else dice.randbytes(4096))
        for _ in range(dice.randrange(6)):
            page[dice.randrange(len(page) if dice.random() < 0.5 else 64)] = dice.randrange(256)
        try:
            outcomes.add(bool(read(bytes(page)).events))
        except DamagedPageError:
            outcomes.add(None)
    assert {True, None} <= outcomes


def test_the_layout_of_a_page_is_what_the_kernel_says_or_is_refused() -> None:
    assert parse_page_header(HEADER) == (8, 16)
    for wrong in ("", HEADER.replace("commit", "other"), HEADER.replace("offset:16", "offset:24")):
        with pytest.raises(FormatError):
            parse_page_header(wrong)


def test_fields_are_where_the_format_says_and_a_string_outside_of_its_event_is_none() -> None:
    form = parse_event_format(ring.FORMATS["path"])
    made = ring.path_event(7, 0xFFFF, b"/a\nfield:\x1b[2J\xff")
    assert form.id == ring.PATH
    assert form.fields["path"].text(made) == b"/a\nfield:\x1b[2J\xff"
    assert form.fields["common_pid"].integer(made) == 7
    assert form.fields["nd"].integer(made) == 0xFFFF
    assert form.fields["path"].text(made[:40]) is None
    assert form.fields["nd"].integer(made[:30]) is None
    assert form.fields["nd"].text(made) is None
    for wrong in (
        "",
        ring.FORMATS["walk"].replace("ID: ", "id "),
        ring.FORMATS["walk"].replace("common_pid", "x"),
    ):
        with pytest.raises(FormatError):
            parse_event_format(wrong)
