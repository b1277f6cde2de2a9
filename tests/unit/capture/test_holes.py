"""Holes in every page of what tasks, mounts, namespaces and fs_structs lie on: values go missing, and never differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import drgn
import pytest

from explorer.analysis.audit import run_audit
from explorer.analysis.query.columns import LABEL_COLUMNS, TaskRow
from explorer.analysis.query.facts import CSV_FACTS
from explorer.model import Snapshot, mount_reference, task_reference
from explorer.output.tasks import render_summary, tasks_table, worlds_table
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenOptions, open_kernel
from explorer.tui.views.details.pane import describe
from tests.conftest import DATA, FIXTURES, capture_file
from tests.holes import PAGE, Holes, differences, pages_of, structures
from tests.truth import differences as untrue
from tests.truth import read_truth

#: The sample whose guest ran no process of three threads.
WITHOUT_THREADS = "rfc-v1"

FILTERED = DATA / "linux-7.3-kdump-d31.elf.zst"


@pytest.fixture(params=sorted(FIXTURES))
def holes(request: pytest.FixtureRequest) -> Iterator[Holes]:
    with open_kernel(detect_target(str(FIXTURES[request.param])), OpenOptions()) as kernel:
        yield Holes(kernel)


def test_a_hole_in_any_page_of_any_structure_makes_values_missing_never_different(holes: Holes) -> None:
    whole = holes.capture()
    assert whole.errors == []
    assert differences(whole, holes.capture()) == []
    pages: dict[int, str] = {}
    for name, addresses in structures(holes.prog, whole).items():
        for address in addresses:
            pages |= {page: name for page in pages_of(holes.prog, name, address) if holes.is_there(page)}
    assert set(pages.values()) >= {"task_struct", "mount", "fs_struct", "super_block", "dentry"}
    costly = 0
    for page, name in sorted(pages.items()):
        with holes.hole(page):
            holed = holes.capture()
        assert differences(whole, holed) == [], f"{name}: a hole at 0x{page:x}"
        costly += bool(holed.errors)
        found, were = ({task.address for task in snapshot.tasks} for snapshot in (holed, whole))
        assert found == were or holed.capture.lost_tasks is not None, f"{name}: a hole at 0x{page:x}"
    assert costly > len(pages) / 2, "most of these pages are read"
    assert differences(whole, holes.capture()) == [], "what was given back is there again"


def test_the_tasks_on_both_sides_of_a_hole_are_found(holes: Holes) -> None:
    """The list is walked from both ends: of all tasks, only those that lie on the page are missing."""
    whole = holes.capture()
    on_page: dict[int, set[int]] = {}
    for task in whole.tasks:
        for page in pages_of(holes.prog, "task_struct", task.address):
            on_page.setdefault(page, set()).add(task.address)
    were = {task.address for task in whole.tasks}
    threads = {task.tgid for task in whole.tasks if task.pid != task.tgid}
    tried = 0
    for page, there in on_page.items():
        if len(there) > 1:
            continue  # between two that are not there, nothing leads to the others
        owners = {task.tgid for task in whole.tasks if task.address in there}
        # Nothing tells of the threads of a leader that is not there, but the table of pids, which a slice has not.
        if owners & threads or 0 in owners or not holes.is_there(page):
            continue
        with holes.hole(page):
            found = {task.address for task in holes.capture().tasks}
        assert were - found <= there
        tried += 1
    assert tried >= 3


def test_no_thread_behind_one_that_is_not_there_is_lost_in_silence(
    holes: Holes, request: pytest.FixtureRequest
) -> None:
    """The page that links a thread of three or more to the next is taken away: each in turn, the middle one too."""
    whole = holes.capture()
    groups = Counter(task.tgid for task in whole.tasks if task.tgid)
    threads = [task for task in whole.tasks if task.tgid and groups[task.tgid] >= 3]
    sample = request.node.callspec.params["holes"]
    assert len(threads) == (0 if sample == WITHOUT_THREADS else 3)
    for thread in threads:
        node = drgn.Object(holes.prog, "struct task_struct", address=thread.address).thread_node
        with holes.hole(int(node.address_of_()) // PAGE * PAGE):
            holed = holes.capture()
        assert differences(whole, holed) == []
        missing = {task.address for task in whole.tasks} - {task.address for task in holed.tasks}
        assert not missing or holed.capture.lost_tasks is not None, f"thread {thread.pid}"


def test_where_an_idle_task_may_be_missing_those_in_the_initial_namespace_are_not_counted(
    holes: Holes,
) -> None:
    whole = holes.capture()
    page = int(holes.prog.symbol("__cpu_possible_mask").address) // PAGE * PAGE
    with holes.hole(page):
        holed = holes.capture()
    assert any(error.where == "idle tasks" for error in holed.errors)
    assert differences(whole, holed) == []
    counts = {space.address: space.nr_tasks for space in holed.mount_namespaces}
    assert counts.pop(holed.kernel.init_mnt_ns or 0) is None
    assert counts == {
        space.address: space.nr_tasks for space in whole.mount_namespaces if space.address in counts
    }


def test_a_tampered_snapshot_is_seen_as_different(holes: Holes) -> None:
    """The comparison itself: what is zero, moved or invented is no missing value."""
    whole = holes.capture()
    tampers: tuple[Callable[[Snapshot], object], ...] = (
        lambda snapshot: snapshot.mounts[0].__dict__.update(id=0),
        lambda snapshot: snapshot.tasks[3].__dict__.update(comm=""),
        lambda snapshot: snapshot.tasks[3].__dict__.update(address=0x10),
        lambda snapshot: snapshot.fs_structs[0].__dict__.update(umask="7777"),
        lambda snapshot: snapshot.tasks.pop(),
    )
    for tamper in tampers:
        changed = whole.model_copy(deep=True)
        tamper(changed)
        assert differences(whole, changed)


def test_every_task_of_a_dump_that_makedumpfile_filtered_is_as_the_guest_said() -> None:
    """Debian's default, -d 31, on a kernel that makedumpfile does not know: pages of task_structs are not there."""
    snapshot = capture_file(FILTERED)
    truth = read_truth(DATA / "linux-7.3-kdump-d31.truth")
    assert len(truth) == 86
    assert untrue(snapshot, truth) == []
    assert {task.tid for task in truth} <= {task.pid for task in snapshot.tasks}
    partial = [task for task in snapshot.tasks if task.flags is None]
    assert len(partial) > 10
    for task in partial:
        assert any(f"0x{task.address:x}" in error.where for error in snapshot.errors), task


def test_what_is_missing_is_a_question_mark_everywhere() -> None:
    snapshot = capture_file(FILTERED)
    rows = [
        TaskRow(task, snapshot.fs_by_address.get(task.owned_fs or 0), snapshot) for task in snapshot.tasks
    ]
    texts = [column.text(row) for column in LABEL_COLUMNS for row in rows]
    texts += [fact.text(row.task, snapshot) for fact in CSV_FACTS.values() for row in rows]
    for table in (tasks_table(snapshot), worlds_table(snapshot)):
        texts += table.lines(None)
    texts += render_summary(snapshot, "dump")
    texts += [f"{found.title} {found.explanation}" for found in run_audit(snapshot).findings]
    for task in snapshot.tasks:
        texts += [fact.value for fact in describe(task_reference(task), snapshot).facts]
    for mount in snapshot.mounts:
        texts += [fact.value for fact in describe(mount_reference(mount), snapshot).facts]
    assert any("?" in text for text in texts)
    assert [text for text in texts if "None" in text] == []
