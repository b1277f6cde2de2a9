"""What shows tasks alone reads tasks alone: they are the same, and nobody else is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.capture.target import capture_kernel, capture_tasks
from explorer.output import tasks_table, worlds_table
from explorer.plugin import load_plugins
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.conftest import DATA, FIXTURES, HELD

_SHOWN = {"kernel", "tasks", "fs_structs"}
_FILTERED = DATA / "linux-7.3-kdump-d31.elf.zst"


@pytest.mark.parametrize("path", [*FIXTURES.values(), HELD, _FILTERED], ids=lambda path: path.name)
def test_tasks_that_are_read_alone_are_those_of_a_whole_capture(path: Path) -> None:
    with open_kernel(detect_target(str(path))) as kernel:
        alone, whole = capture_tasks(kernel), capture_kernel(kernel, load_plugins())
    assert alone.model_dump(include=_SHOWN) == whole.model_dump(include=_SHOWN)
    assert tasks_table(alone).lines(None) == tasks_table(whole).lines(None)
    assert worlds_table(alone).lines(None) == worlds_table(whole).lines(None)
    assert {error.where for error in alone.errors} <= {error.where for error in whole.errors}
    assert whole.plugins
    assert not (alone.workqueues or alone.plugins)
