"""What is heard of the copy that parses the kernel's types: small numbers, or why there are none; whatever it says."""

from __future__ import annotations

import json

import pytest

from explorer.targets import TargetError
from explorer.tracing.layout import _understand

_GOOD = [176, 8, 56, 0, 32, 0, 24]
#: None is an offset.
_BAD: list[object] = [-1, 1 << 16, 1 << 70, 1.0, True, None, "8", "8(%di)\np:evil/x do_exit", [8], {}]


def test_seven_offsets_are_taken_as_they_are() -> None:
    at, work = _understand(json.dumps(_GOOD).encode(), 0)
    assert [*at, *work] == _GOOD


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"[",
        b"{}",
        b"7",
        b"null",
        b"\xff\xfe",
        json.dumps(_GOOD[:-1]).encode(),
        json.dumps([*_GOOD, 1]).encode(),
        *(json.dumps([*_GOOD[:-1], bad]).encode() for bad in _BAD),
        b"[NaN, 1, 2, 3, 4, 5, 6]",
        b"[" * 8000,
    ],
    ids=lambda said: repr(said[:24]),
)
def test_whatever_else_a_copy_says_that_has_been_taken_over_defines_no_event(said: bytes) -> None:
    with pytest.raises(TargetError):
        _understand(said, 0)


def test_why_there_are_none_is_passed_on() -> None:
    with pytest.raises(TargetError, match="this kernel has no struct nameidata"):
        _understand(json.dumps("this kernel has no struct nameidata").encode(), 0)


def test_a_copy_that_a_signal_ended_is_told_from_one_that_knows_nothing() -> None:
    with pytest.raises(TargetError, match="has ended without a word, with -11"):
        _understand(b"", -11)
