"""What is said of mounts and their namespaces: on one real snapshot, and small changes of it."""

from __future__ import annotations

import pytest

from explorer.analysis.mounts import (
    Keepers,
    find_namespace,
    flag_names,
    incomplete_words,
    list_namespaces,
    mount_rows,
    mounts_of_source,
    namespace_facts,
    near_sources,
    propagation_words,
    where_words,
)
from explorer.analysis.mounts import NamespaceNotFoundError as NotFoundError
from explorer.analysis.mounts.namespaces import NamespaceFacts
from explorer.analysis.mounts.overmounts import root_depth, root_stack
from explorer.model import MNT_NAMES, Attachment, Mount, Snapshot, escape_text
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.conftest import FIXTURES, HELD, capture_file
from tests.unit.audit_states import named, task_of


@pytest.fixture(scope="module")
def captured() -> Snapshot:
    return capture_file(HELD)


@pytest.fixture
def snapshot(captured: Snapshot) -> Snapshot:
    return Snapshot.model_validate(captured.model_dump())


def of_task(snapshot: Snapshot, comm: str) -> NamespaceFacts:
    space = snapshot.namespace_by_address[task_of(snapshot, comm).mnt_ns or 0]
    return namespace_facts(space, snapshot)


def kept_by_file_of(snapshot: Snapshot, comm: str) -> NamespaceFacts:
    [name] = named(snapshot, comm)
    [found] = [facts for facts in list_namespaces(snapshot) if name in "".join(facts.keepers)]
    return found


def mount_of(snapshot: Snapshot, source: str) -> Mount:
    [mount] = [mount for mount in snapshot.mounts if mount.source == source]
    return mount


def test_every_namespace_is_listed_once_the_initial_one_first_and_the_anonymous_ones_last(
    snapshot: Snapshot,
) -> None:
    found = list_namespaces(snapshot)
    assert sorted(facts.namespace.address for facts in found) == [
        space.address for space in snapshot.mount_namespaces
    ]
    assert [facts.is_initial for facts in found] == [True] + [False] * (len(found) - 1)
    assert [bool(facts.namespace.anonymous) for facts in found] == [False] * (len(found) - 1) + [True]
    for facts in found:
        assert namespace_facts(facts.namespace, snapshot) == facts


def test_a_namespace_without_tasks_is_kept_by_what_holds_it_and_one_with_tasks_by_these(
    snapshot: Snapshot,
) -> None:
    [opened] = named(snapshot, "h-ns-opened")
    assert kept_by_file_of(snapshot, "h-ns-opened").kept_by == f"an open file of {opened}"
    [table] = named(snapshot, "h-ns-mountinfo")
    assert kept_by_file_of(snapshot, "h-ns-mountinfo").kept_by == f"a mount table opened by {table}"
    [second] = named(snapshot, "p-second")
    assert of_task(snapshot, "p-second").kept_by == second
    [tree] = named(snapshot, "h-tree")
    [anonymous] = [facts for facts in list_namespaces(snapshot) if facts.namespace.anonymous]
    assert anonymous.kept_by == f"an open file of {tree}"


def test_what_a_namespace_is_pinned_by_is_a_mount_that_can_be_gone_to_even_while_tasks_are_in_it(
    snapshot: Snapshot,
) -> None:
    [nsfs] = [mount for mount in snapshot.mounts if mount.fstype == "nsfs"]
    [bound] = [facts for facts in list_namespaces(snapshot) if facts.pins]
    assert bound.pins == [nsfs]
    assert bound.kept_by == f"the mount nsfs#{nsfs.id} on /h-ns/bound"
    bound.namespace.nr_tasks = bound.namespace.holders = None  # as a snapshot has it of one with tasks
    assert namespace_facts(bound.namespace, snapshot).pins == [nsfs]


def test_pid_1_is_named_before_the_kernels_own_tasks(snapshot: Snapshot) -> None:
    initial = list_namespaces(snapshot)[0]
    assert initial.kept_by.startswith("nx-init (1), ")
    assert initial.kept_by.endswith(f" and {len(initial.tasks) - 3} more")


def test_of_an_older_snapshot_a_namespace_is_not_said_to_have_no_task(snapshot: Snapshot) -> None:
    facts = kept_by_file_of(snapshot, "h-ns-opened")
    facts.namespace.nr_tasks = facts.namespace.holders = None
    older = namespace_facts(facts.namespace, snapshot)
    assert (older.nr_tasks, older.kept_by) == ("≥0", "no task of it was found")
    second = of_task(snapshot, "p-second")
    second.namespace.nr_tasks = None
    assert second.nr_tasks == "≥1"


def test_a_namespace_for_which_nobody_was_found_says_so(snapshot: Snapshot) -> None:
    facts = kept_by_file_of(snapshot, "h-ns-opened")
    facts.namespace.holders = []
    assert namespace_facts(facts.namespace, snapshot).kept_by == "nobody that was found"


@pytest.mark.parametrize("layout", FIXTURES)
def test_depth_counts_what_lies_on_the_root_on_every_layout(
    fixture_snapshots: dict[str, Snapshot], layout: str
) -> None:
    """From 7.0 on a nullfs lies below each rootfs; before, nothing does."""
    snapshot = fixture_snapshots[layout]
    initial = list_namespaces(snapshot)[0]
    names = [mount.fstype for mount in initial.stack]
    assert names == (["rootfs"] if layout.startswith("legacy") else ["nullfs", "rootfs"])
    assert initial.depth == len(names)
    for facts in list_namespaces(snapshot):
        assert facts.depth == len(facts.stack)
        assert facts.visible_root is not None
        assert facts.visible_root.address == facts.namespace.visible_root


def test_a_stack_of_which_a_mount_is_missing_has_no_depth(snapshot: Snapshot) -> None:
    facts = list_namespaces(snapshot)[0]
    snapshot.mounts.remove(facts.stack[-1])
    del snapshot.__dict__["mount_by_address"]
    assert len(root_stack(facts.namespace, snapshot)) == 1
    assert root_depth(facts.namespace, snapshot) is None
    short = namespace_facts(facts.namespace, snapshot)
    assert (short.depth, short.visible_root) == (None, None)


def test_a_stack_that_runs_in_a_circle_ends_and_has_no_depth(snapshot: Snapshot) -> None:
    facts = list_namespaces(snapshot)[0]
    facts.stack[-1].overmount = facts.stack[0].address
    facts.namespace.visible_root = None
    assert len(root_stack(facts.namespace, snapshot)) == 2
    assert root_depth(facts.namespace, snapshot) is None


def test_a_namespace_is_named_by_number_as_proc_shows_it_and_by_address(snapshot: Snapshot) -> None:
    space = of_task(snapshot, "p-second").namespace
    for word in (str(space.inum), f"mnt:[{space.inum}]", f"0x{space.address:x}"):
        assert find_namespace(word, snapshot) is space


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("1", "there is no mount namespace 1"),
        ("mnt:[1]", "there is no mount namespace"),
        ("0x10", "there is no mount namespace 0x10"),
        ("0xzz", "0xzz is no address"),
        ("", "is neither an inode number"),
        ("-4", "is neither an inode number"),
        ("9" * 30, "is neither an inode number"),
        ("٣", "is neither an inode number"),  # a digit for Python, too
    ],
)
def test_what_names_no_namespace_is_said(snapshot: Snapshot, word: str, why: str) -> None:
    with pytest.raises(NotFoundError, match=why):
        find_namespace(word, snapshot)


def test_a_number_that_all_anonymous_namespaces_share_is_not_guessed_at(snapshot: Snapshot) -> None:
    first, second = snapshot.mount_namespaces[:2]
    second.inum = first.inum
    with pytest.raises(
        NotFoundError, match=r"2 mount namespaces have the number .*: name one by its address, 0x"
    ):
        find_namespace(str(first.inum), snapshot)


def test_the_rows_of_one_namespace_are_its_mounts_in_the_order_of_the_tree(snapshot: Snapshot) -> None:
    for space in snapshot.mount_namespaces:
        head, *rows = mount_rows(snapshot, space)
        assert head.namespace is space
        shown = [row.mount.address for row in rows if row.mount is not None]
        assert sorted(shown) == [mount.address for mount in snapshot.mounts if mount.mnt_ns == space.address]
        everything = [row.mount.address for row in mount_rows(snapshot) if row.mount is not None]
        assert shown == [address for address in everything if address in shown]


def test_a_mount_of_which_hardly_anything_could_be_read_is_still_in_the_tree(snapshot: Snapshot) -> None:
    """Else it would be counted, and shown nowhere."""
    one, two = snapshot.mounts[:2]
    for mount in (one, two):
        mount.attachment = mount.mountpoint = mount.id = mount.overmount = None
    one.parent = two.parent = snapshot.mounts[2].address
    shown = [row.mount.address for row in mount_rows(snapshot) if row.mount is not None]
    assert sorted(shown) == sorted(mount.address for mount in snapshot.mounts)
    assert where_words(one, snapshot) == "?"


def test_every_flag_has_its_kernels_name_and_an_unknown_bit_is_not_dropped() -> None:
    assert flag_names(0x8000020) == ["MNT_RELATIME", "MNT_UMOUNT"]
    assert flag_names(0x4040) == ["MNT_READONLY", "MNT_INTERNAL"]
    assert flag_names(0xC7) == ["MNT_NOSUID", "MNT_NODEV", "MNT_NOEXEC", "MNT_READONLY", "MNT_NOSYMFOLLOW"]
    assert flag_names(0) == []
    assert flag_names(0x40000001) == ["MNT_NOSUID", "0x40000000"]


def test_propagation_that_is_not_known_is_not_called_private(snapshot: Snapshot) -> None:
    mount = snapshot.mounts[0]
    mount.shared, mount.master, mount.propagate_from, mount.unbindable = 3, 2, 1, False
    assert propagation_words(mount) == "shared:3 master:2 propagate_from:1"
    mount.shared = mount.master = mount.propagate_from = None
    assert propagation_words(mount) == "private"
    mount.unbindable = None
    assert propagation_words(mount) is None


def test_a_source_is_followed_to_mounts_of_its_filesystem_in_other_namespaces_and_in_none(
    snapshot: Snapshot,
) -> None:
    """Who unmounts /dev/sdb here, and finds it busy, has to know of the copy that a container has of it."""
    found = mounts_of_source("rootfs", snapshot)
    assert {mount.superblock for mount in found} == {found[0].superblock}
    assert {mount.attachment for mount in found} == {Attachment.NAMESPACE, Attachment.ANONYMOUS}
    assert len({mount.mnt_ns for mount in found}) == len(found) > 5
    renamed = found[-1]
    renamed.source = "another name"
    assert mounts_of_source("rootfs", snapshot) == found
    assert mounts_of_source("another name", snapshot) == found
    assert mounts_of_source(found[0].dev or "", snapshot) == found
    renamed.superblock = None
    assert mounts_of_source("another name", snapshot) == [renamed]


def test_a_source_is_found_by_its_bytes_and_as_tables_print_it(snapshot: Snapshot) -> None:
    odd = mount_of(snapshot, "h-files")
    odd.source = "a\n\x1b[31m"
    assert mounts_of_source(odd.source, snapshot) == [odd]
    assert mounts_of_source(escape_text(odd.source), snapshot) == [odd]
    assert mounts_of_source("a", snapshot) == []


def test_a_source_that_is_misspelt_gets_those_that_look_like_it(snapshot: Snapshot) -> None:
    assert "h-table" in near_sources("h-tabl", snapshot)
    assert near_sources("\x1b", snapshot) == []


def test_a_mount_is_kept_by_its_namespace_and_whoever_is_known_to_be_on_it(snapshot: Snapshot) -> None:
    keepers = Keepers(snapshot)
    second = task_of(snapshot, "p-second")
    fs = snapshot.fs_of(second)
    assert fs is not None and fs.root is not None
    root = snapshot.mount_by_address[fs.root.mount]
    [name] = named(snapshot, "p-second")
    kept = keepers.of(root)
    assert kept.words == [
        f"its namespace ({name})",
        f"the root of {name}",
        f"the working directory of {name}",
    ]
    assert not kept.was_read
    assert keepers.rooted(root) == 1


def test_a_detached_mount_is_kept_by_its_holders_and_by_what_nobody_was_found_for(snapshot: Snapshot) -> None:
    keepers = Keepers(snapshot)
    [files] = named(snapshot, "h-files")
    assert keepers.of(mount_of(snapshot, "h-files")).words == [f"3 open files of {files}"]
    sent = mount_of(snapshot, "h-sent")
    assert keepers.of(sent).words == ["1 reference that nobody was found for"]
    assert keepers.of(sent).was_read
    assert sent.holders is not None
    sent.holders.count = None
    assert keepers.of(sent).words == ["more that could not be read"]
    sent.holders = None
    assert keepers.of(sent).words == []
    assert not keepers.of(sent).was_read


def test_a_snapshot_says_why_there_may_be_more_mounts_than_it_has(snapshot: Snapshot) -> None:
    assert incomplete_words(snapshot) is None
    snapshot.mount_namespaces[0].nr_mounts = None
    assert incomplete_words(snapshot) == "not all mounts of a namespace could be reached"
    snapshot.capture.lost_mounts = "why"
    assert incomplete_words(snapshot) == "why"


def test_an_older_snapshot_does_not_say_that_it_has_all_mounts(snapshot: Snapshot) -> None:
    for mount in snapshot.mounts:
        mount.options = mount.dev = None
    assert "did not look for mounts" in (incomplete_words(snapshot) or "")


@pytest.mark.parametrize("layout", ["isolated", "rfc-v1", "nullfs-rootfs"])
def test_the_names_of_flags_are_those_of_the_kernels_own_types(layout: str) -> None:
    with open_kernel(detect_target(str(FIXTURES[layout]))) as kernel:
        enumerators = kernel.prog.type("enum mount_flags").enumerators
    assert enumerators is not None
    flags = {each.value: each.name for each in enumerators if each.value.bit_count() == 1}
    assert len(flags) > 15
    assert {bit: MNT_NAMES.get(bit) for bit in flags} == flags


@pytest.mark.parametrize("layout", FIXTURES)
def test_no_mount_of_any_layout_has_a_flag_without_a_name(
    fixture_snapshots: dict[str, Snapshot], layout: str
) -> None:
    """Kernels before 6.16 do not tell their names."""
    flags = {name for m in fixture_snapshots[layout].mounts for name in flag_names(m.flags or 0)}
    assert flags >= {"MNT_RELATIME"}
    assert not [name for name in flags if not name.startswith("MNT_")]
