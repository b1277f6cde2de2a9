"""The activity capture on memory with works put into it that no recording happens to hold, and on damaged memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import drgn
import pytest
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.printk import get_printk_records

from explorer.capture.kernel.log import LOG_WORDS
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Snapshot, Workqueue, kernel_bytes
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, open_kernel
from tests.conftest import FIXTURES
from tests.unit.poked import FREE, put

_PENDING_AND_PWQ = 1 << 0 | 1 << 2
_FUNC = "call_usermodehelper_exec_work"


@pytest.fixture(params=["isolated", "legacy-6.1"])
def kernel(request: pytest.FixtureRequest) -> Iterator[OpenKernel]:
    with open_kernel(detect_target(str(FIXTURES[request.param]))) as opened:
        yield opened


def put_work(kernel: OpenKernel, address: int, pwq: int, following: int) -> int:
    """A ``work_struct`` in memory; returns the address of its ``entry``."""
    work = kernel.prog.type("struct work_struct")
    data = bytearray(drgn.sizeof(work))
    func = kernel.types.symbol_address(_FUNC)
    assert func is not None
    struct.pack_into("<Q", data, work.member("data").offset, pwq | _PENDING_AND_PWQ)
    struct.pack_into("<Q", data, work.member("entry").offset, following)
    struct.pack_into("<Q", data, work.member("func").offset, func)
    put(kernel.prog, address, bytes(data))
    return address + int(work.member("entry").offset)


def first_pwq(kernel: OpenKernel, name: bytes) -> drgn.Object:
    head = kernel.prog["workqueues"].address_of_()
    for workqueue in list_for_each_entry("struct workqueue_struct", head, "list"):
        if workqueue.name.string_() == name:
            return next(
                iter(list_for_each_entry("struct pool_workqueue", workqueue.pwqs.address_of_(), "pwqs_node"))
            )
    raise LookupError(name)


def capture(kernel: OpenKernel) -> Snapshot:
    return capture_snapshot(CaptureRequest.from_kernel(kernel))


def workqueue(snapshot: Snapshot, name: str) -> Workqueue:
    return next(queue for queue in snapshot.workqueues if queue.name == name)


def test_a_work_in_a_pools_worklist_is_pending_in_the_workqueue_its_data_names(kernel: OpenKernel) -> None:
    pwq = first_pwq(kernel, b"events_highpri")
    head = pwq.pool.worklist.address_of_().value_()
    node = put_work(kernel, FREE, pwq.value_(), head)
    put(kernel.prog, head, struct.pack("<Q", node))
    snapshot = capture(kernel)
    assert snapshot.errors == []
    queue = workqueue(snapshot, "events_highpri")
    assert [(work.func, work.worker, work.running_s) for work in queue.pending] == [(_FUNC, None, None)]
    assert [other.name for other in snapshot.workqueues if other.pending and other is not queue] == []


def test_works_above_max_active_are_inactive_in_their_order(kernel: OpenKernel) -> None:
    pwq = first_pwq(kernel, b"events_unbound")
    head = pwq.inactive_works.address_of_().value_()
    second = put_work(kernel, FREE + 0x100, pwq.value_(), head)
    put(kernel.prog, head, struct.pack("<Q", put_work(kernel, FREE, pwq.value_(), second)))
    snapshot = capture(kernel)
    assert snapshot.errors == []
    # There are two of that name: system_unbound_wq and system_dfl_wq.
    found = {queue.address: [work.func for work in queue.inactive] for queue in snapshot.workqueues}
    assert {address: works for address, works in found.items() if works} == {pwq.wq.value_(): [_FUNC, _FUNC]}


def test_a_worklist_in_a_circle_costs_that_pool_and_is_said(kernel: OpenKernel) -> None:
    pwq = first_pwq(kernel, b"events_highpri")
    whole = capture(kernel)
    node = FREE + int(kernel.prog.type("struct work_struct").member("entry").offset)
    put_work(kernel, FREE, pwq.value_(), node)
    put(kernel.prog, pwq.pool.worklist.address_of_().value_(), struct.pack("<Q", node))
    snapshot = capture(kernel)
    assert [(error.where, error.what) for error in snapshot.errors] == [
        (f"worker pool 0x{pwq.pool.value_():x}", "works")
    ]
    assert workqueue(snapshot, "events_highpri").pending == []
    assert workqueue(snapshot, "events_unbound") == workqueue(whole, "events_unbound")


def test_children_of_the_root_in_a_circle_leave_settings_unknown_and_tasks_whole(kernel: OpenKernel) -> None:
    whole = capture(kernel)
    init = next(task for task in whole.tasks if task.pid == 1)
    root = whole.fs_by_address[init.owned_fs or 0].root
    assert root is not None
    dentry = kernel.prog.type("struct dentry")
    children = "d_children" if dentry.has_member("d_children") else "d_subdirs"
    first = kernel.prog.read_u64(root.dentry + dentry.member(children).offset)
    put(kernel.prog, first, struct.pack("<Q", first))  # both kinds of list begin with the next pointer
    snapshot = capture(kernel)
    assert {setting.found for setting in snapshot.settings if setting.path} == {"unknown"}
    assert snapshot.errors
    assert all(error.where.startswith("setting ") for error in snapshot.errors)
    assert snapshot.tasks == whole.tasks


@pytest.mark.parametrize("layout", FIXTURES)
@pytest.mark.parametrize("words", [LOG_WORDS, (b"memory", b"sharing", b"Linux version"), (b"e",)])
def test_the_lines_of_the_log_are_those_that_dmesg_shows(
    layout: str, words: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With other words too: a recording has few lines that matter."""
    monkeypatch.setattr("explorer.capture.kernel.log.LOG_WORDS", words)
    monkeypatch.setattr("explorer.capture.kernel.log._MAX_LINES", 100_000)
    with open_kernel(detect_target(str(FIXTURES[layout]))) as opened:
        expected = [
            b"[%5d.%06d] " % divmod(record.timestamp // 1000, 1_000_000) + line
            for record in get_printk_records(opened.prog)
            for line in record.text.splitlines()
            if any(word in line for word in words)
        ]
        snapshot = capture(opened)
        assert [error for error in snapshot.errors if error.where == "log"] == []
        assert [kernel_bytes(line) for line in snapshot.log] == expected
