"""``record live --trace`` in a guest: what its kernel looked up between two frames is in the timeline."""

from __future__ import annotations

import pytest

from tests.kernels.conftest import kernel_or_skip
from tests.kernels.lab.liveimage import boot_live
from tests.kernels.subsystems import run_steps, wait_until
from tests.kernels.trace_guest import Order, load_walker, walk
from tests.kernels.traced import ours_in

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(1200)]

_BEGIN_S = 400.0


def test_a_lookup_that_fails_in_nullfs_is_an_event_of_a_live_recording_and_nothing_is_left() -> None:
    with boot_live(kernel_or_skip("7.3"), "walked") as guest:
        load_walker(guest)
        arguments = ("record", "live", "--trace", "--interval", "1s", "--for", "600s", "-o", "/tmp/r.nxrec")
        start = guest.start_tool(*arguments)
        wait_until(guest, "test -s /img/tmp/r.nxrec", _BEGIN_S)
        made = walk(guest, Order(b"/etc/passwd"), Order(b"/etc/passwd", "kthread"))
        run_steps(guest, "sleep 3; kill -INT $(grep -lx nullfs-explorer /proc/[0-9]*/comm | cut -d/ -f3)")
        code, printed = guest.end_tool(start)
        assert code == 0, printed
        assert "2 path lookups" in printed
        code, timeline = guest.run_tool("timeline", "/tmp/r.nxrec", timeout_s=600)
        assert code == 0, timeline
        for each in made:
            words = f"{each.comm} ({each.pid}) looked up /etc/passwd in nullfs: ENOENT"
            assert f"{words}, asked for by {each.function} [walker]" in timeline
        assert ours_in(guest) == []
