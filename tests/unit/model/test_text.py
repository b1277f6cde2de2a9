"""Kernel text: lossless in, safe out."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.model import display_width, escape_text, kernel_bytes, kernel_text


@given(st.binary(max_size=64))
def test_no_byte_of_a_kernel_name_is_lost(raw: bytes) -> None:
    assert kernel_bytes(kernel_text(raw)) == raw


@given(st.binary(max_size=64))
def test_no_control_character_of_a_kernel_name_reaches_a_terminal(raw: bytes) -> None:
    shown = escape_text(kernel_text(raw))
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]
    shown.encode("utf-8")


@given(st.binary(max_size=32), st.binary(max_size=32))
def test_two_different_names_never_look_the_same(one: bytes, other: bytes) -> None:
    if one != other:
        assert escape_text(kernel_text(one)) != escape_text(kernel_text(other))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"kworker/0:1", "kworker/0:1"),
        (b"\033[31m[bold]evil", "\\e[31m[bold]evil"),
        (b"a\nb\tc", "a\\nb\\tc"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
        (b"back\\slash", "back\\\\slash"),
        (b"\x9b31m", "\\x9b31m"),
        ("\u009b31m".encode(), "\\x9b31m"),
        ("naïve ☕".encode(), "naïve ☕"),
    ],
)
def test_hostile_names_are_shown_as_written_here(raw: bytes, shown: str) -> None:
    assert escape_text(kernel_text(raw)) == shown


def test_wide_characters_take_two_columns() -> None:
    assert display_width("日本") == 4
    assert display_width("abc") == 3
