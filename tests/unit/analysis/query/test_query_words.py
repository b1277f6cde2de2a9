"""Words of the query language: groups of kinds, names as the screen shows them, older names, and slips of the hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.analysis.query.facets import count_facets, toggle_term
from explorer.analysis.query.facts import CSV_FACTS, FIELDS, find_field
from explorer.analysis.query.index import TaskIndex, selected
from explorer.analysis.query.misspelt import edit_distance, nearly
from explorer.analysis.query.parse import QueryError, compile_query, parse_query
from explorer.model import Placement, Snapshot, Task, TaskFlag, TaskKind
from explorer.naming import fs_label

USERSPACE = (TaskKind.INIT, TaskKind.USER, TaskKind.IO_WORKER, TaskKind.USERMODEHELPER)
FLAGS = ("borrowing", "exited", "mismatch", "walking")


def found(query: str, snapshot: Snapshot) -> list[Task]:
    """What a query finds; one by one and all at once it is the same."""
    tasks = list(filter(compile_query(query, snapshot), snapshot.tasks))
    index = TaskIndex(snapshot)
    assert [snapshot.tasks[place] for place in selected(index.mask(parse_query(query).root))] == tasks
    return tasks


# Groups of kinds


def test_kind_kernel_is_every_task_with_pf_kthread_and_userspace_is_the_rest(
    fixture_snapshots: dict[str, Snapshot],
) -> None:
    for snapshot in fixture_snapshots.values():
        kernel = [task for task in snapshot.tasks if task.has_flag(TaskFlag.KTHREAD)]
        assert {TaskKind.KTHREAD, TaskKind.KWORKER, TaskKind.IDLE} <= {task.kind for task in kernel}
        assert found("kind:kernel", snapshot) == kernel
        assert found("kind~kernel", snapshot) == kernel
        assert found("kind!=kernel", snapshot) == found("kind:userspace", snapshot)
        assert found("kind:userspace", snapshot) == [task for task in snapshot.tasks if task not in kernel]


def test_a_task_whose_kind_could_not_be_read_is_in_neither_group(isolated: Snapshot) -> None:
    isolated.tasks[3].kind = None
    assert isolated.tasks[3] not in found("kind:kernel or kind:userspace", isolated)


def test_a_part_of_a_kind_is_not_taken_for_the_group_that_it_is_a_part_of_too(isolated: Snapshot) -> None:
    worker = [task for task in isolated.tasks if task.kind in (TaskKind.USER, TaskKind.USERMODEHELPER)]
    assert found("kind~user", isolated) == worker
    kthreads = [task for task in isolated.tasks if task.kind in (TaskKind.KTHREAD, TaskKind.KWORKER)]
    assert found("kind:k*", isolated) == kthreads


def test_the_facet_of_kinds_has_groups_with_the_kinds_below_them(isolated: Snapshot) -> None:
    index = TaskIndex(isolated)
    root = parse_query("").root
    (facet,) = [facet for facet in count_facets(index, index.everything, root) if facet.name == "kind"]
    groups = [term.label for term in facet.terms if term.depth == 0]
    assert sorted(groups) == ["kernel", "userspace"]
    above = ""
    sums = dict.fromkeys(groups, 0)
    for term in facet.terms:
        if term.depth == 0:
            above = term.label
        else:
            assert (TaskKind(term.label) in USERSPACE) == (above == "userspace")
            sums[above] += term.count
    assert sums == {term.label: term.count for term in facet.terms if term.depth == 0}
    (kernel,) = [term for term in facet.terms if term.label == "kernel"]
    assert kernel.node is not None and toggle_term("", kernel.node) == "kind:kernel"


# Names as the screen shows them


@pytest.mark.parametrize(
    "query", ["flags:PF_KTHREAD", "flags~PF_KTHREAD", "flags:kthread", "flags~^pf_kthread$"]
)
def test_a_flag_is_asked_for_as_the_screen_shows_it_and_as_queries_had_it(
    query: str, isolated: Snapshot
) -> None:
    assert found(query, isolated) == [task for task in isolated.tasks if task.has_flag(TaskFlag.KTHREAD)]


def test_a_part_of_a_flag_finds_all_flags_with_it(isolated: Snapshot) -> None:
    for query in ("flags~worker", "flags~^wq_", "flags:wq*"):
        tasks = found(query, isolated)
        assert {TaskKind.KWORKER, TaskKind.RESCUER} <= {task.kind for task in tasks}, query


@pytest.mark.parametrize("name", ["init_fs", "userspace_init_fs"])
@pytest.mark.parametrize("field", ["fs", "real_fs", "fs_struct"])
def test_an_fs_struct_is_asked_for_by_the_name_that_the_screen_shows(
    name: str, field: str, fixture_snapshots: dict[str, Snapshot]
) -> None:
    for snapshot in fixture_snapshots.values():
        address = getattr(snapshot.kernel, name)
        attribute = "owned_fs" if field == "fs_struct" else field
        expected = [
            task for task in snapshot.tasks if address is not None and getattr(task, attribute) == address
        ]
        assert found(f"{field}:{name}", snapshot) == expected
        assert found(f"{field}!={name}", snapshot) == [
            task for task in snapshot.tasks if task not in expected
        ]
    assert found("fs_struct:init_fs", fixture_snapshots["isolated"])


def test_every_cell_of_the_column_fs_struct_is_a_value_to_ask_for(isolated: Snapshot) -> None:
    labels = {fs_label(task.owned_fs, isolated) for task in isolated.tasks if task.owned_fs is not None}
    assert any(label.startswith("…") for label in labels)
    for label in labels:
        tasks = [task for task in isolated.tasks if fs_label(task.owned_fs, isolated) == label]
        assert found(f"fs_struct:{label}", isolated) == tasks


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("fs:inti_fs", "did you mean init_fs"),
        ("fs<init_fs", "fs is an address"),
        ("users:init_fs", "users is a number"),
        ("fs:…12", "fs is an address"),
        ("fs>…12345678", "fs is an address"),
        ("address:init_fs", "address is an address"),
        ("flags:PF_KTHRED", "did you mean PF_KTHREAD"),
        ("flags:kthred", "did you mean PF_KTHREAD"),
        ("kind:kernl", "did you mean kernel"),
        ("pwd.placement:chrot", "did you mean not-a-root"),
        ("placment:nullfs", "did you mean placement"),
    ],
)
def test_a_name_that_is_none_is_refused_with_what_may_be_meant(query: str, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        parse_query(query)


# One name for each concept


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("root:nullfs", "placement:nullfs"),
        ("root_placement:nullfs", "placement:nullfs"),
        ("ROOT:nullfs", "placement:nullfs"),
        ("pwd:chroot", "pwd.placement:not-a-root"),
        ("pwd_placement:nullfs", "pwd.placement:nullfs"),
        ("root_path~jail", "root.path~jail"),
        ("current_func:*", "func:*"),
    ],
)
def test_an_older_name_means_what_it_meant(old: str, new: str, isolated: Snapshot) -> None:
    assert found(old, isolated) == found(new, isolated)
    assert old == "pwd:chroot" or parse_query(old).root == parse_query(new).root


def test_each_column_of_a_csv_is_a_field_of_the_same_fact(isolated: Snapshot) -> None:
    for column, fact in CSV_FACTS.items():
        assert find_field(column, FIELDS) is fact, column


def test_a_working_directory_is_never_called_chroot(fixture_snapshots: dict[str, Snapshot]) -> None:
    places = 0
    for snapshot in fixture_snapshots.values():
        for task in snapshot.tasks:
            fs = snapshot.fs_of(task)
            text = CSV_FACTS["pwd_placement"].text(task, snapshot)
            assert text != "chroot"
            if fs is not None and fs.pwd is not None and fs.pwd.placement is Placement.CHROOT:
                places += 1
                assert text == "not-a-root"
                assert task in found("pwd.placement:not-a-root", snapshot)
    assert places
    assert "chroot" not in FIELDS["pwd.placement"].choices


# Slips of the hand


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("borowing", "borrowing"),
        ("borrowin", "borrowing"),
        ("Borrwoing", "borrowing"),
        ("obrrowing", "borrowing"),
        ("exitd", "exited"),
        ("mismach", "mismatch"),
        ("wlaking", "walking"),
    ],
)
def test_a_misspelt_flag_is_answered_and_not_searched_for_as_text(typed: str, meant: str) -> None:
    for query, position in ((typed, 0), (f"pid:1 not {typed}", 10)):
        with pytest.raises(QueryError) as caught:
            parse_query(query)
        assert caught.value.position == position
        assert caught.value.suggestions == (meant,)
        assert f'"{typed}"' in caught.value.message
    assert str(parse_query(f'"{typed}"').root) == f'"{typed}"'


@pytest.mark.parametrize(
    "word",
    ["borrow", "borrower", "talking", "walk", "walker", "exit", "match", "kworker", "systemd", "b", "123"],
)
def test_plain_text_that_is_no_near_miss_is_searched_for(word: str, isolated: Snapshot) -> None:
    task = isolated.tasks[5]
    task.comm = f"a-{word}-z"
    assert task in found(word, isolated)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FLAGS), st.data())
def test_one_letter_left_out_doubled_or_swapped_is_always_noticed(flag: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(flag) - 2))
    for typed in (
        flag[:at] + flag[at + 1 :],
        flag[:at] + flag[at] + flag[at:],
        flag[:at] + flag[at + 1] + flag[at] + flag[at + 2 :],
    ):
        assert typed == flag or flag in nearly(typed, FLAGS)


@settings(max_examples=200, deadline=None)
@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_the_distance_is_symmetric_and_0_of_a_word_to_itself_alone(one: str, other: str) -> None:
    assert edit_distance(one, other) == edit_distance(other, one)
    assert (edit_distance(one, other) == 0) == (one == other)
    assert abs(len(one) - len(other)) <= edit_distance(one, other) <= max(len(one), len(other))
