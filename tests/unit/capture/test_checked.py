"""What is read in a short way is what drgn reads in the long one; a reader that gives something else is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from explorer.capture.memory.checked import CheckedReader
from explorer.capture.memory.reader import MemoryReader
from explorer.capture.request import CaptureRequest, CaptureStats
from explorer.capture.snapshot import capture_snapshot
from explorer.plugin import load_plugins
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, open_kernel
from tests.conftest import FIXTURES


@pytest.fixture(scope="module", params=sorted(FIXTURES))
def kernel(request: pytest.FixtureRequest) -> OpenKernel:
    return open_kernel(detect_target(str(FIXTURES[request.param])))


def test_every_read_of_every_sample_gives_what_the_page_tables_lead_to(kernel: OpenKernel) -> None:
    request, stats = CaptureRequest.from_kernel(kernel, load_plugins().plugins), CaptureStats()
    checked = capture_snapshot(replace(request, checked=True), stats=stats)
    assert stats.differing == []
    assert stats.compared > 2 * len(checked.tasks)
    plain = capture_snapshot(request)
    assert checked.model_dump(exclude={"capture"}) == plain.model_dump(exclude={"capture"})


def test_a_direct_map_that_lies_elsewhere_is_found_out(kernel: OpenKernel) -> None:
    tasks = [task.address for task in capture_snapshot(CaptureRequest.from_kernel(kernel)).tasks]
    start = kernel.prog.read_u64(kernel.prog.symbol("page_offset_base").address)
    end = kernel.prog.read_u64(kernel.prog.symbol("vmalloc_base").address)
    for reader in (MemoryReader(kernel.prog), CheckedReader(kernel.prog)):
        reader.use_direct_map(start - 4096, end)
        for address in tasks:
            reader.read(address, 8)
    assert isinstance(reader, CheckedReader)
    assert reader.differing != []
