"""Plugins on overlay, EROFS and audit's trees, in guests where these are at work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explorer.model import Owner, Placement, Severity, Snapshot, Walk
from tests.kernels.conftest import OLDER
from tests.kernels.lab import LINES, Guest
from tests.kernels.subsystems import Seen, capture_guest, read_dump, run_steps, wait_until

pytestmark = pytest.mark.kernel

PLUGINS = ("audit", "coredump", "erofs", "overlay", "unix_socket")


@pytest.mark.parametrize("line", LINES)
def test_a_healthy_kernel_gives_all_facts_and_no_finding_and_says_what_is_not_loaded(line: str) -> None:
    with Guest.boot(line, "healthy") as guest:
        seen = capture_guest(guest, *PLUGINS)
    assert {name: seen.state(name) for name in ("erofs", "overlay")} == {
        "erofs": "not loaded",
        "overlay": "not loaded",
    }
    for name in ("audit", "coredump", "unix_socket"):
        assert (name, seen.findings(name), seen.facts(name).missing) == (name, [], [])
        assert seen.unclaimed(name) == []
    assert [task.comm for task in seen.spoken_for("audit")] == ["kauditd"]
    assert (seen.facts("audit").trees, seen.facts("audit").pruner) == ([], None)
    assert seen.facts("unix_socket").supported == (line in ("7.2", "7.3"))


@dataclass(frozen=True)
class Layers:
    idle: Seen
    healthy: Seen
    options: dict[str, dict[str, str]]
    """Mount point of an overlay -> its options with a value, as /proc/mounts has them."""
    erofs: set[str]
    """Sources of EROFS mounts, as /proc/mounts has them."""
    rules: set[str]
    """Trees, as auditctl lists them."""
    broken: Seen
    covered: Seen
    again: Seen
    lazy: tuple[Seen, Seen]
    """Before and after a watched filesystem, which somebody works in, is unmounted lazily."""


def make_overlays(guest: Guest) -> dict[str, dict[str, str]]:
    run_steps(
        guest,
        "mkdir -p /l1 /l2 /up /o /ro; for d in l1 l2 up; do mount -t tmpfs tmp-$d /$d; done",
        "mkdir /up/u /up/w; echo one >/l1/one; echo two >/l2/two",
        "mount -t overlay ov /o -o lowerdir=/l1:/l2,upperdir=/up/u,workdir=/up/w",
        "mount -t overlay ro /ro -o lowerdir=/l1:/l2",
    )
    found = {}
    for row in run_steps(guest, "grep overlay /proc/mounts").splitlines():
        if row:
            _, where, _, options, *_ = row.split()
            found[where] = dict(option.split("=", 1) for option in options.split(",") if "=" in option)
    return found


def make_block_image(guest: Guest) -> None:
    run_steps(
        guest,
        "mkdir -p /src /eimg /e /eblock; echo hello >/src/file; mount -t ramfs ram /eimg",
        "mkfs.erofs -zlz4hc /eimg/e.img /src >/dev/null; cp /eimg/e.img /block.img",
        "losetup /dev/loop0 /block.img; /init lab-mnt erofs /dev/loop0 /eblock; cat /eblock/file",
    )


def make_trees(guest: Guest) -> set[str]:
    run_steps(
        guest,
        "mkdir -p /w/sub /w/kept; auditctl -e 1",
        *(
            f"auditctl -a always,exit -F dir={path} -F perm=w -k {path[-3:]}"
            for path in ("/w/sub", "/w/kept")
        ),
    )
    rows = run_steps(guest, "auditctl -l").splitlines()
    return {row.split()[1] for row in rows if row.startswith("-w")}


#: Each tree that :func:`break_trees` leaves behind -> what is found of it.
BROKEN_TREES = {
    "/w/sub": "an audit rule watches the tree /w/sub, which does not exist for init",
    "/w/kept": "an audit rule watches the tree /w/kept, and something else is at that path now",
    "/w/lazy": "an audit rule watches the tree /w/lazy, and something else is at that path now",
}


def watch_and_use_lazy(guest: Guest) -> None:
    """A watched mount with somebody in it: the mount, and with it the rule, go when it is unmounted before he is in."""
    run_steps(
        guest,
        "mkdir /w/lazy; mount -t tmpfs lazy /w/lazy; auditctl -a always,exit -F dir=/w/lazy -F perm=w -k lazy",
        "sh -c 'cd /w/lazy; exec sleep 99999' >/dev/null 2>&1 & echo $! >/lazy.pid",
    )
    wait_until(guest, "test $(readlink /proc/$(cat /lazy.pid)/cwd) = /w/lazy", 60)


def break_trees(guest: Guest) -> tuple[Seen, Seen]:
    """What is seen before and after the trees are renamed away, mounted over, and unmounted while in use."""
    watch_and_use_lazy(guest)
    before = capture_guest(guest, "audit")
    run_steps(
        guest,
        "umount -l /w/lazy; mv /w/sub /w/moved; mount -t tmpfs over /w/kept; ls /w/lazy /w/kept; ls /w/sub || true",
    )
    return before, capture_guest(guest, "audit")


def check_broken_trees(before: Seen, after: Seen) -> None:
    assert before.findings("audit") == []
    assert {tree.path: tree.watched == tree.found for tree in before.facts("audit").trees} == dict.fromkeys(
        BROKEN_TREES, True
    )
    assert sorted(finding.title for finding in after.findings("audit")) == sorted(BROKEN_TREES.values())


@pytest.fixture(scope="module")
def layers() -> Iterator[Layers]:
    with Guest.boot("7.3", "layers") as guest:
        idle = capture_guest(guest, *PLUGINS)
        options = make_overlays(guest)
        make_block_image(guest)
        run_steps(guest, "/init lab-mnt erofs /eimg/e.img /e; cat /e/file")
        listing = run_steps(guest, "grep ' erofs ' /proc/mounts")
        sources = {row.split()[0] for row in listing.splitlines() if row}
        rules = make_trees(guest)
        healthy = capture_guest(guest, *PLUGINS)
        assert run_steps(guest, "umount -l /l2 /up /eimg; cat /o/two /e/file").split() == ["two", "hello"]
        run_steps(guest, "mv /w/sub /w/moved; ls /w/sub || true")
        broken = capture_guest(guest, *PLUGINS)
        run_steps(guest, "mount -t tmpfs over /w/kept; ls /w/kept")
        covered = capture_guest(guest, "audit")
        rule = "always,exit -F dir=/w/kept -F perm=w -k ept"
        run_steps(guest, f"auditctl -d {rule}; auditctl -a {rule}; auditctl -l")
        again = capture_guest(guest, "audit")
        watch_and_use_lazy(guest)
        before = capture_guest(guest, "audit")
        run_steps(guest, "umount -l /w/lazy; ls /w/lazy")
        lazy = capture_guest(guest, "audit")
        yield Layers(idle, healthy, options, sources, rules, broken, covered, again, (before, lazy))


def test_loaded_filesystems_that_nobody_mounted_have_no_facts_and_nothing_is_found(layers: Layers) -> None:
    assert layers.idle.facts("overlay").overlays == []
    assert layers.idle.facts("erofs").images == []
    for name in PLUGINS:
        assert layers.idle.findings(name) == []


def test_subsystems_at_work_give_no_finding_from_any_plugin(layers: Layers) -> None:
    for name in PLUGINS:
        assert (name, layers.healthy.findings(name), layers.healthy.facts(name).missing) == (name, [], [])
        assert layers.healthy.unclaimed(name) == []


def test_layers_are_those_of_the_mount_options(layers: Layers) -> None:
    snapshot = layers.healthy.snapshot
    where = {m.superblock: m.mountpoint or "" for m in snapshot.mounts if m.fstype == "overlay"}
    overlays = {where[overlay.superblock]: overlay for overlay in layers.healthy.facts("overlay").overlays}
    assert set(overlays) == set(layers.options) == {"/o", "/ro"}
    for mountpoint, overlay in overlays.items():
        options = layers.options[mountpoint]
        assert overlay.mounted is True
        assert (overlay.upperdir, overlay.workdir) == (options.get("upperdir"), options.get("workdir"))
        assert overlay.lowerdir == options["lowerdir"]
        lower = {layer.index: layer.option for layer in overlay.layers if layer.index}
        assert lower == dict(enumerate(options["lowerdir"].split(":"), 1))
        assert {layer.index: layer.option for layer in overlay.layers if not layer.index} == (
            {0: options["upperdir"]} if "upperdir" in options else {}
        )


def test_a_layer_is_on_the_superblock_of_the_mount_it_was_made_from_in_a_private_clone(
    layers: Layers,
) -> None:
    snapshot = layers.healthy.snapshot
    superblocks = {m.source: m.superblock for m in snapshot.mounts if (m.source or "").startswith("tmp-")}
    names = {"/l1": "tmp-l1", "/l2": "tmp-l2", "/up/u": "tmp-up"}
    for overlay in layers.healthy.facts("overlay").overlays:
        for layer in overlay.layers:
            assert layer.superblock == superblocks[names[layer.option]]
            assert (layer.mounted, layer.path.fstype) == (True, "tmpfs")
            assert layer.path.placement is Placement.INTERNAL


def test_layers_whose_filesystem_was_unmounted_are_told_and_no_other(layers: Layers) -> None:
    findings = layers.broken.findings("overlay")
    assert {(f.rule, f.severity) for f in findings} == {("NX-OVERLAY-ORPHANED-LAYER", Severity.INFO)}
    assert sorted(f.title for f in findings) == [
        "overlay with lowerdir=/l1:/l2 stands on lower layer 2 /l2 (tmpfs), mounted nowhere else any more",
        "overlay with lowerdir=/l1:/l2 stands on upper layer /up/u (tmpfs), lower layer 2 /l2 (tmpfs), "
        "mounted nowhere else any more",
    ]


def test_an_image_is_in_the_file_that_was_mounted_or_on_a_block_device(layers: Layers) -> None:
    images = {image.source: image for image in layers.healthy.facts("erofs").images}
    assert set(images) == layers.erofs == {"/eimg/e.img", "/dev/loop0"}
    assert images["/dev/loop0"].file is None
    file = images["/eimg/e.img"].file
    assert (file.path, file.fstype, file.placement) == ("/eimg/e.img", "ramfs", Placement.CHROOT)
    assert {image.mounted for image in images.values()} == {True}


def test_an_image_in_a_file_on_a_lazily_unmounted_filesystem_is_found_and_no_other(layers: Layers) -> None:
    (finding,) = layers.broken.findings("erofs")
    assert (finding.rule, finding.severity) == ("NX-EROFS-DEAD-FILE", Severity.MEDIUM)
    assert finding.title.startswith("the EROFS image /eimg/e.img is ramfs:/e.img")
    mount = finding.evidence[-1].address
    assert layers.broken.snapshot.mount_by_address[mount or 0].source == "ram"


def test_trees_are_those_that_auditctl_lists_and_the_pruner_is_on_init_fs(layers: Layers) -> None:
    facts = layers.healthy.facts("audit")
    assert {tree.path for tree in facts.trees} == layers.rules == {"/w/sub", "/w/kept"}
    assert [(tree.goner, tree.tagged, tree.now.found) for tree in facts.trees] == [(False, True, "yes")] * 2
    assert facts.enabled == 1
    threads = {task.comm: task for task in layers.healthy.spoken_for("audit")}
    assert set(threads) == {"kauditd", "audit_prune_tre"}
    assert facts.pruner.address == threads["audit_prune_tre"].address
    assert {task.owner for task in threads.values()} == {Owner.INIT_FS}


def test_a_tree_whose_directory_was_moved_away_is_found_and_no_other(layers: Layers) -> None:
    (finding,) = layers.broken.findings("audit")
    assert (finding.rule, finding.severity) == ("NX-AUDIT-TREE", Severity.LOW)
    assert "/w/sub," in finding.title


def test_a_tree_whose_directory_was_mounted_over_is_found(layers: Layers) -> None:
    watched = {tree.path: (tree.watched, tree.found) for tree in layers.healthy.facts("audit").trees}
    assert {path: mine == now for path, (mine, now) in watched.items()} == {"/w/sub": True, "/w/kept": True}
    titles = [finding.title for finding in layers.covered.findings("audit")]
    assert "an audit rule watches the tree /w/kept, and something else is at that path now" in titles


def test_a_rule_that_was_deleted_and_added_again_behind_the_mount_is_no_finding(layers: Layers) -> None:
    [tree] = [tree for tree in layers.again.facts("audit").trees if tree.path == "/w/kept" and not tree.goner]
    assert tree.watched is not None and tree.watched == tree.found
    assert not any("/w/kept" in finding.title for finding in layers.again.findings("audit"))


def test_a_tree_whose_filesystem_was_unmounted_lazily_is_found(layers: Layers) -> None:
    before, after = (
        [finding.title for finding in seen.findings("audit") if "/w/lazy" in finding.title]
        for seen in layers.lazy
    )
    assert before == []
    assert after == ["an audit rule watches the tree /w/lazy, and something else is at that path now"]


def with_walk(snapshot: Snapshot, comm: str) -> Snapshot:
    """The snapshot, with that thread in a path walk."""
    changed = snapshot.model_copy(deep=True)
    task = next(task for task in changed.tasks if task.comm == comm)
    task.walk = Walk(path="/x", root=None, start=None, in_init=False)
    return changed


def test_a_path_walk_in_a_thread_of_audit_or_erofs_is_found(layers: Layers) -> None:
    """No kernel of Debian's has such a walk: the snapshot is made to have one."""
    snapshot = layers.healthy.snapshot
    for comm in ("kauditd", "audit_prune_tre"):
        changed = with_walk(snapshot, comm)
        found = list(layers.healthy.plugin("audit").audit(changed, layers.healthy.facts("audit")))
        assert [(f.rule, f.severity) for f in found] == [("NX-AUDIT-WALK", Severity.MEDIUM)]
    worker = next(task for task in snapshot.tasks if task.kthread and task.name.startswith("kworker/0"))
    changed = with_walk(snapshot, worker.name)
    plugin, facts = layers.healthy.plugin("erofs"), layers.healthy.facts("erofs")
    assert list(plugin.audit(changed, facts)) == []
    busy = next(task for task in changed.tasks if task.comm == worker.comm)
    assert busy.kthread is not None
    busy.kthread.workqueue = "erofs_worker"
    assert [finding.rule for finding in plugin.audit(changed, facts)] == ["NX-EROFS-WALK"]


@pytest.mark.parametrize("line", OLDER)
def test_older_kernels_have_the_same_facts_of_overlays_images_and_trees(line: str) -> None:
    with Guest.boot(line, "layers") as guest:
        options = make_overlays(guest)
        make_block_image(guest)
        rules = make_trees(guest)
        healthy = capture_guest(guest, *PLUGINS)
        run_steps(guest, "umount -l /up")
        orphaned = capture_guest(guest, "overlay")
        trees = break_trees(guest)
    check_broken_trees(*trees)
    overlays = healthy.facts("overlay").overlays
    assert {o.lowerdir for o in overlays} == {option["lowerdir"] for option in options.values()}
    assert {o.upperdir for o in overlays} == {"/up/u", None}
    assert [image.source for image in healthy.facts("erofs").images] == ["/dev/loop0"]
    assert {tree.path for tree in healthy.facts("audit").trees} == rules == {"/w/sub", "/w/kept"}
    for name in PLUGINS:
        assert (name, healthy.findings(name), healthy.facts(name).missing) == (name, [], [])
        assert healthy.unclaimed(name) == []
    (finding,) = orphaned.findings("overlay")
    assert "upper layer /up/u" in finding.title
    assert "lower layer" not in finding.title


@pytest.mark.parametrize("line", ["6.12", "7.2"])
def test_older_kernels_with_images_in_files_have_the_file_and_so_has_their_dump(
    line: str, tmp_path: Path
) -> None:
    with Guest.boot(line, "layers") as guest:
        make_block_image(guest)
        code, said = guest.sh("/init lab-mnt erofs /eimg/e.img /e")
        if code:
            pytest.skip(f"{line} has no images in files: {said.strip()}")
        make_overlays(guest)
        seen = capture_guest(guest, *PLUGINS, dump=tmp_path / "dump")
        make_trees(guest)
        trees = break_trees(guest)
    check_broken_trees(*trees)
    dumped = read_dump(tmp_path / "dump", *PLUGINS)
    assert [dumped.facts(name) for name in PLUGINS] == [seen.facts(name) for name in PLUGINS]
    files = {image.source: image.file for image in seen.facts("erofs").images}
    assert files["/dev/loop0"] is None
    assert (files["/eimg/e.img"].path, files["/eimg/e.img"].fstype) == ("/eimg/e.img", "ramfs")
