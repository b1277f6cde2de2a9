"""Pages of real ring buffers (6.1, 6.12, 7.3; two CPUs), against what the kernel module that looked up says it did."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from explorer.tracing.places import kernel_kind
from tests.unit.traced_pages import joined_pages

DATA = Path(__file__).parents[2] / "data" / "trace"
KERNELS = ("6.1", "6.12", "7.3")


def looked_up(done: dict[str, Any]) -> bool:
    """Not a program's system call, not a helper that was only asked for, and not a borrow where there is none."""
    return bool(done["who"] != "user") and done["call"] != "helper" and done["result"] != -errno.EOPNOTSUPP


@pytest.mark.parametrize("kernel", KERNELS)
def test_each_lookup_of_a_real_kernel_comes_out_once_with_its_path_task_and_result(kernel: str) -> None:
    account = json.loads((DATA / kernel / "account.json").read_text())
    lookups, _, (joiner, damaged) = joined_pages(DATA / kernel)
    assert damaged == 0
    made = [each for each in account if looked_up(each)]
    pids = {each["pid"] for each in made}
    seen = [each for each in lookups if each.walk.pid in pids]
    assert [(each.walk.pid, each.result) for each in seen] == [(each["pid"], each["result"]) for each in made]
    for each, done in zip(seen, made, strict=True):
        path = bytes.fromhex(done["path"])
        # An event of these kernels has no room for the longest: of that the walk has the beginning.
        assert each.walk.path_cut is (kernel != "7.3" and len(path) > 4000)
        assert each.walk.path == (path[:256] if each.walk.path_cut else path)
    assert joiner.orphans == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_real_stack_leads_from_the_lookup_to_the_function_that_asked_and_its_thread(kernel: str) -> None:
    account = json.loads((DATA / kernel / "account.json").read_text())
    asked = {each["pid"]: each["function"] for each in account if looked_up(each)}
    lookups, names, _ = joined_pages(DATA / kernel)
    lookups = [each for each in lookups if each.walk.pid in asked]
    assert lookups
    for lookup in lookups:
        assert lookup.walk.stack is not None
        frames = names.frames(lookup.walk.stack)
        functions = [frame.function for frame in frames]
        assert functions[0] in ("path_lookupat", "path_openat", "path_parentat", "__filename_parentat")
        assert asked[lookup.walk.pid] in functions
        assert {frame.module for frame in frames if frame.function == asked[lookup.walk.pid]} == {"walker"}
        assert kernel_kind(frames) is not None
