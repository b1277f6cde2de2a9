"""A short run of the fuzzer that ``make fuzz-terminal`` lets go on for minutes."""

from __future__ import annotations

from tests.fuzz.terminal import run_sessions

#: As long as the whole takes, but for the session that is running then.
_SECONDS = 8.0


def test_random_bytes_are_never_a_fault_and_leave_the_terminal_as_it_was_found() -> None:
    sessions = run_sessions(17, _SECONDS)
    assert [session for session in sessions if session.failures] == []
    assert sum(session.sent for session in sessions) > 100
