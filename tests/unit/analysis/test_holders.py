"""What is said of holders, and which mount a word means; on one real snapshot, and small changes of it."""

from __future__ import annotations

import pytest

from explorer.analysis.holders import MountNotFoundError, find_mount, list_holders
from explorer.analysis.rules import find_rule
from explorer.model import (
    Attachment,
    Finding,
    Holder,
    HolderKind,
    Mount,
    MountHolders,
    Severity,
    Snapshot,
    mount_reference,
)
from explorer.tui.views.details import describe
from explorer.tui.views.mounts import mount_rows
from tests.conftest import HELD, capture_file
from tests.unit.audit_states import find, named


@pytest.fixture(scope="module")
def captured() -> Snapshot:
    return capture_file(HELD)


@pytest.fixture
def snapshot(captured: Snapshot) -> Snapshot:
    return captured.model_copy(deep=True)


def mount_of(snapshot: Snapshot, source: str) -> Mount:
    [mount] = [mount for mount in snapshot.mounts if mount.source == source]
    return mount


def holders_of(snapshot: Snapshot, source: str) -> MountHolders:
    holders = mount_of(snapshot, source).holders
    assert holders is not None
    return holders


def titled(findings: list[Finding], text: str) -> Finding:
    [finding] = [finding for finding in findings if text in finding.title]
    return finding


def test_only_for_that_is_not_said_of_a_snapshot_that_does_not_know_it(snapshot: Snapshot) -> None:
    mount_of(snapshot, "h-root").holders = None
    [finding] = find(snapshot, "NX-ROOT-DETACHED")
    assert finding.title.endswith("(h-root), which was unmounted lazily")


def test_only_for_that_is_not_said_where_the_count_could_not_be_read(snapshot: Snapshot) -> None:
    holders_of(snapshot, "h-root").count = None
    [finding] = find(snapshot, "NX-ROOT-DETACHED")
    assert finding.title.endswith("(h-root), which was unmounted lazily")


def test_only_for_that_is_not_said_where_a_file_or_nobody_known_holds_it_too(snapshot: Snapshot) -> None:
    holders = holders_of(snapshot, "h-root")
    holders.count = 3
    [finding] = find(snapshot, "NX-ROOT-DETACHED")
    assert finding.title.endswith("lives on for that, and for 1 reference that nobody was found for")
    holders.holders += holders_of(snapshot, "h-table").holders
    [finding] = find(snapshot, "NX-ROOT-DETACHED")
    first, second, third = named(snapshot, "h-table", "h-table-same", "h-table-copy")
    assert finding.title.endswith(f"lives on for that, and for an open file of {first}, {second} and {third}")


def test_a_mount_about_to_be_freed_and_one_in_no_state_to_tell_are_no_finding(snapshot: Snapshot) -> None:
    """In a storm of containers some are always on their way out."""
    before = len(find(snapshot, "NX-MOUNT-HELD"))
    holders = holders_of(snapshot, "h-sent")
    holders.count = 0
    assert len(find(snapshot, "NX-MOUNT-HELD")) == before - 1
    holders.count = None
    assert len(find(snapshot, "NX-MOUNT-HELD")) == before - 1
    holders.count = 1
    holders.holders.append(Holder(kind=HolderKind.UMOUNT, address=1, path=None, uses=[], nr_uses=0))
    assert len(find(snapshot, "NX-MOUNT-HELD")) == before - 1


def test_a_reference_without_a_holder_is_no_more_than_info(snapshot: Snapshot) -> None:
    found = titled(find(snapshot, "NX-MOUNT-HELD"), "(h-sent)")
    assert found.severity is Severity.INFO
    assert "SCM_RIGHTS" in found.explanation
    assert titled(find(snapshot, "NX-MOUNT-HELD"), "(h-exe)").severity is Severity.LOW


def test_more_holders_than_references_are_high_in_a_dump_and_nothing_on_a_kernel_that_ran(
    snapshot: Snapshot,
) -> None:
    assert find(snapshot, "NX-MOUNT-COUNT") == []
    holders_of(snapshot, "h-files").count = 1
    [finding] = find(snapshot, "NX-MOUNT-COUNT")
    assert finding.severity is Severity.HIGH
    assert finding.title == f"tmpfs#{mount_of(snapshot, 'h-files').id} counts 1 reference, and has 3 holders"
    snapshot.capture.consistent = False
    assert find(snapshot, "NX-MOUNT-COUNT") == []


def test_a_namespace_of_an_older_snapshot_or_with_tasks_or_anonymous_is_not_called_lone(
    snapshot: Snapshot,
) -> None:
    assert len(find(snapshot, "NX-NS-NO-TASKS")) == 4
    for space in snapshot.mount_namespaces:
        space.holders = None
    assert find(snapshot, "NX-NS-NO-TASKS") == []


def test_the_rules_explain_themselves() -> None:
    for rule in ("NX-MOUNT-HELD", "NX-MOUNT-COUNT", "NX-NS-NO-TASKS"):
        assert find_rule(rule).explanation


def test_a_mount_is_named_by_id_unique_id_address_and_path(snapshot: Snapshot) -> None:
    dev = find_mount("/dev", snapshot)
    assert dev.mnt_ns == snapshot.kernel.init_mnt_ns  # each namespace has one there
    assert dev.fstype == "devtmpfs"
    for word in (str(dev.id), str(dev.unique_id), f"0x{dev.address:x}"):
        assert find_mount(word, snapshot) is dev
    root = find_mount("/", snapshot)
    assert root.fstype == "rootfs"  # what is mounted over the nullfs below


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("/no/where", "there is no mount /no/where"),
        ("99999", "there is no mount 99999"),
        ("9" * 30, "is neither an id"),
        ("0xzz", "0xzz is no address"),
        ("tmpfs", "is neither an id"),
        ("", "is neither an id"),
        ("-1", "is neither an id"),
        ("\u0663", "is neither an id"),  # a digit for Python, too
    ],
)
def test_what_names_no_mount_is_said(snapshot: Snapshot, word: str, why: str) -> None:
    with pytest.raises(MountNotFoundError, match=why):
        find_mount(word, snapshot)


def test_a_path_of_mounts_in_other_namespaces_alone_is_not_guessed_at(snapshot: Snapshot) -> None:
    for mount in snapshot.mounts:
        if mount.mountpoint == "/dev" and mount.mnt_ns == snapshot.kernel.init_mnt_ns:
            mount.mountpoint = "/elsewhere"
    with pytest.raises(MountNotFoundError, match="mounts are called /dev: name one by its id, "):
        find_mount("/dev", snapshot)


def test_alike_holders_are_counted_and_others_named(snapshot: Snapshot) -> None:
    [files] = list_holders(holders_of(snapshot, "h-files").holders, snapshot)
    assert files == f"3 open files of {named(snapshot, 'h-files')[0]}"
    lost = Holder(kind=HolderKind.FILE, address=1, path=None, uses=[], nr_uses=0)
    assert list_holders([lost], snapshot) == ["a file mapped by nobody that was found"]


def test_the_detail_of_a_dead_mount_has_its_books_and_a_line_to_every_holder(snapshot: Snapshot) -> None:
    mount = mount_of(snapshot, "h-files")
    row = next(row for row in mount_rows(snapshot) if row.mount is mount)
    assert row.mount is not None
    detail = describe(mount_reference(mount), snapshot)
    facts = [(fact.name, fact.value) for fact in detail.facts]
    assert ("references", "3 = 3 holders") in facts
    held = [fact for fact in detail.facts if fact.name == "held by"]
    assert len(held) == 4
    assert all(fact.target is not None and fact.target.kind == "task" for fact in held)
    assert any(r"\e[31m\nline" in fact.value for fact in held)
    assert not any("\x1b" in fact.value for fact in detail.facts)


def test_the_detail_of_a_mount_whose_holders_were_not_read_says_how_to_read_them(snapshot: Snapshot) -> None:
    detail = describe(mount_reference(find_mount("/dev", snapshot)), snapshot)
    [line] = [fact.value for fact in detail.facts if fact.name == "held by"]
    assert line.startswith("not read: nullfs-explorer holders TARGET ")


def test_namespaces_without_tasks_say_so_in_the_tree_and_anonymous_ones_are_no_namespace_there(
    snapshot: Snapshot,
) -> None:
    heads = [row.head for row in mount_rows(snapshot) if row.head]
    assert sum("(no task in it)" in head for head in heads) == 4
    assert "anonymous: made, and attached nowhere" in heads
    anonymous = {space.inum for space in snapshot.mount_namespaces if space.anonymous}
    assert anonymous
    assert not any(str(inum) in head for inum in anonymous for head in heads)
    shown = [row.mount.address for row in mount_rows(snapshot) if row.mount is not None]
    assert sorted(shown) == sorted(mount.address for mount in snapshot.mounts)
    lone = [mount for mount in snapshot.mounts if mount.attachment is Attachment.ANONYMOUS]
    assert lone
