"""When a dump's kernel stopped, against the guest's own ``date`` just before."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from explorer.naming import moments
from tests.kernels.conftest import BootFunction, first
from tests.kernels.lab import LINES, GuestOptions
from tests.kernels.test_capture import capture

pytestmark = pytest.mark.kernel

#: Nobody's time but the guest's: what is read on this machine cannot be taken for it.
CLOCK = "2031-01-02T03:04:05"
#: A guest's clock and this machine's do not go at one pace under emulation.
PACE = 1.5


@pytest.mark.parametrize("line", first(*LINES))
def test_a_dump_stopped_when_the_guests_own_clock_says_and_was_read_when_this_machines_does(
    line: str, boot: BootFunction, tmp_path: Path
) -> None:
    guest = boot(line, "shell", GuestOptions(clock=CLOCK))
    asked = time.monotonic()
    code, printed = guest.sh("date -u +%s")
    assert code == 0
    told = int(printed.split()[-1])
    guest.stop()
    passed = time.monotonic() - asked
    guest.dump(tmp_path / "dump")
    live = capture(f"qemu:{guest.qmp_socket}").capture
    dumped = capture(str(tmp_path / "dump")).capture
    assert dumped.kernel_time is not None
    stopped = datetime.fromisoformat(dumped.kernel_time)
    assert stopped.year == 2031
    assert -0.1 <= stopped.timestamp() - told <= 1 + passed * PACE
    assert live.kernel_time == dumped.kernel_time
    assert abs(datetime.fromisoformat(dumped.taken_at) - datetime.now(UTC)).total_seconds() < 60
    assert [what for what, _ in moments(dumped)] == ["stopped", "read"]
    assert [what for what, _ in moments(live)] == ["taken"]
