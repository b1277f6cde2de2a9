"""What plugins say of what is in flight while its setting says something else by now."""

from __future__ import annotations

import pytest

from explorer.model import KernelSetting, Snapshot, StackFrame, Walk
from explorer.plugins._dumping import Destination, destination
from explorer.plugins.firmware import PLUGIN, Directory, FirmwareFacts
from tests.unit.audit_states import task_of

_NO_SYMLINKS = 1 << 24


@pytest.mark.parametrize(
    ("frame", "flags", "sockets", "goes_to"),
    [
        ("unix_find_bsd", 0, True, "socket"),  # a stack is worth more than a walk's flags
        ("filp_open", _NO_SYMLINKS, True, "file"),
        (None, _NO_SYMLINKS, True, "socket"),
        (None, _NO_SYMLINKS, False, "file"),  # before 6.16 there are no sockets
        (None, 0, True, "file"),
        (None, None, True, "unknown"),
        (None, None, False, "file"),
        ("schedule", _NO_SYMLINKS, True, "socket"),
    ],
)
def test_where_a_dump_goes_is_told_by_its_stack_then_by_its_walk_and_never_guessed(
    isolated: Snapshot, frame: str | None, flags: int | None, sockets: bool, goes_to: Destination
) -> None:
    task = task_of(isolated, "plain-a")
    stack = [StackFrame(function=frame or "", source=None, inlined=False, opens_scope=False)]
    task.stack = stack if frame is not None else None
    task.walk = Walk(path="/x", root=None, start=None, in_init=False, flags=flags)
    assert destination(task, sockets) == goes_to


def test_a_dump_with_neither_stack_nor_walk_goes_nobody_knows_where(isolated: Snapshot) -> None:
    task = task_of(isolated, "plain-a")
    task.walk = task.stack = None
    assert destination(task, True) == destination(task, False) == "unknown"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (None, ["NX-FIRMWARE-NO-DIRECTORY"]),
        ("/was/set/before/lab/fw.bin", []),
        ("/was/set/before/lab/fw.bin.zst", []),
        ("/was/set/before/lab/fw.bin.xz", []),
        ("/was/set/before/lab/fw.bin.old", ["NX-FIRMWARE-NO-DIRECTORY"]),
        ("/was/set/before/other-lab/fw.bin.xz", ["NX-FIRMWARE-NO-DIRECTORY"]),
        ("/was/set/before/notlab/fw.bin", ["NX-FIRMWARE-NO-DIRECTORY"]),
    ],
)
def test_firmware_that_is_looked_up_where_its_path_was_before_is_not_said_to_be_nowhere(
    isolated: Snapshot, path: str | None, found: list[str]
) -> None:
    absent = KernelSetting(name="fw_path", value="/no", path="/no", found="no", target=None)
    facts = FirmwareFacts(
        state="loaded",
        missing=[],
        directories=[Directory(path="/no", chosen=False, now=absent)],
        requests=None,
        loading=["lab/fw.bin"],
    )
    if path is not None:
        walk = Walk(path=path, root=None, start=None, in_init=False)
        task_of(isolated, "plain-a").walk = walk
    rules = [finding.rule for finding in PLUGIN.audit(isolated, facts)]
    assert [rule for rule in rules if rule.endswith("NO-DIRECTORY")] == found
