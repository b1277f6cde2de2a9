"""The state letter is the kernel's own."""

from __future__ import annotations

import pytest

from explorer.capture.tasks.found import state_letter


@pytest.mark.parametrize(
    ("state", "exit_state", "letter"),
    [
        (0, 0, "R"),
        (0x1, 0, "S"),
        (0x2, 0, "D"),
        (0x4, 0, "T"),
        (0x8, 0, "t"),
        (0x40, 0, "P"),
        (0x80, 0x20, "Z"),
        (0x80, 0x10, "X"),
        (0x402, 0, "I"),
        (0x2402, 0, "I"),
        (0x8402, 0, "D"),
        (0x102, 0, "D"),
        (0x8000, 0, "D"),
        (0x1000, 0, "D"),
    ],
)
def test_state_bits_become_the_letter_that_proc_shows(state: int, exit_state: int, letter: str) -> None:
    assert state_letter(state, exit_state) == letter
