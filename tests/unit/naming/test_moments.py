"""When what a snapshot shows was so: of a dump this is not when it was read."""

from __future__ import annotations

from typing import Literal

import pytest

from explorer.model import Capture, Source
from explorer.naming import moment_words


def _capture(
    kind: Literal["live", "vmcore", "qemu", "physmem"], kernel_time: str | None, *, consistent: bool = True
) -> Capture:
    return Capture(
        tool_version="1",
        taken_at="2026-11-27T09:00:00.123+00:00",
        source=Source(kind=kind, target="x"),
        types="btf",
        duration_s=0.1,
        consistent=consistent,
        kernel_time=kernel_time,
    )


STOPPED = "2026-11-26T20:28:27.281+00:00"


@pytest.mark.parametrize("kind", ["vmcore", "physmem"])
def test_of_a_dump_it_is_said_when_its_kernel_stopped_and_when_it_was_read(
    kind: Literal["vmcore", "physmem"],
) -> None:
    words = moment_words(_capture(kind, STOPPED))
    assert words == "stopped 2026-11-26 20:28:27 UTC, read 2026-11-27 09:00:00 UTC"


@pytest.mark.parametrize("kind", ["live", "qemu"])
def test_a_kernel_that_was_there_is_of_one_moment(kind: Literal["live", "qemu"]) -> None:
    assert moment_words(_capture(kind, STOPPED)) == "taken 2026-11-27 09:00:00 UTC"


def test_when_a_dumps_kernel_stopped_is_not_guessed_from_when_it_was_read() -> None:
    assert moment_words(_capture("vmcore", None)) == "read 2026-11-27 09:00:00 UTC"


def test_memory_that_was_written_out_while_the_kernel_ran_did_not_stop() -> None:
    assert moment_words(_capture("vmcore", STOPPED, consistent=False)).startswith("written 2026-11-26 ")


def test_a_time_that_a_stranger_wrote_is_kept_as_it_is() -> None:
    assert moment_words(_capture("vmcore", "yesterday")) == "stopped yesterday, read 2026-11-27 09:00:00 UTC"
