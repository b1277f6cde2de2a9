"""Control groups, containers and pid namespaces, against what the guest's own /proc says of every process."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import drgn
import pytest
from drgn.helpers.linux.list import list_for_each_entry

from explorer.analysis.query import TaskIndex, count_facets, parse_query, selected
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Container, ContainerRuntime, Snapshot, Task, kernel_bytes
from explorer.slicing.cut import record
from explorer.slicing.redact import redact_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, OpenOptions, open_kernel
from tests.holes import PAGE, Holes, differences
from tests.kernels.conftest import ENDS, kernel_or_skip
from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(900)]

ID, OTHER, OLD = "3f2a" * 16, "0b1c" * 16, "7d5e" * 16
POD = "pod0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0"
DOCKER, CONTAINERD, CRIO = ContainerRuntime.DOCKER, ContainerRuntime.CONTAINERD, ContainerRuntime.CRIO
#: A group in the guest, as its shell's printf writes it -> the container that it is of.
GROUPS: dict[str, Container | None] = {
    f"system.slice/docker-{ID}.scope": Container(runtime=DOCKER, id=ID),
    f"docker/{ID}": Container(runtime=DOCKER, id=ID),
    f"docker/{ID}/docker/{OTHER}": Container(runtime=DOCKER, id=OTHER),
    f"kubepods.slice/kubepods-{POD}.slice/cri-containerd-{ID}.scope": Container(runtime=CONTAINERD, id=ID),
    f"kubepods.slice/crio-{ID}.scope": Container(runtime=CRIO, id=ID),
    f"kubepods/burstable/{POD}/{ID}": Container(runtime=ContainerRuntime.KUBERNETES, id=ID),
    f"machine.slice/libpod-{ID}.scope/container": Container(runtime=ContainerRuntime.PODMAN, id=ID),
    f"machine.slice/libpod-conmon-{ID}.scope": None,
    "machine.slice/machine-my\\\\x2dbox.scope/payload": Container(
        runtime=ContainerRuntime.NSPAWN, id="my-box"
    ),
    "machine.slice/machine-my\\\\x2dbox.scope/supervisor": None,
    "machine.slice/machine-qemu\\\\x2d1\\\\x2dvm.scope": None,
    "lxc.payload.web": Container(runtime=ContainerRuntime.LXC, id="web"),
    f"actions_job/{ID}": Container(runtime=ContainerRuntime.OCI, id=ID),
    "system.slice/ssh.service": None,
    "n" * 255: None,
    "\\033[31mred": None,
    "\\377\\376": None,
    "named (deleted)": None,
    "d/" * 299 + "d": None,
}
DEEP, DEEP_NAME = 300, "e" * 100
#: Bytes of a path that /proc/PID/cgroup has room for: a page, without what ends it.
_SHOWN = 4095
#: Hierarchies of v1 as systemd mounts them -> a group in each, of a container or none, and v2 knows nothing of it.
_V1: dict[str, tuple[str, Container | None]] = {
    "none,name=lab": (f"docker/{OLD}", Container(runtime=DOCKER, id=OLD)),
    "pids": ("lxc.payload.old", Container(runtime=ContainerRuntime.LXC, id="old")),
    "none,name=other": ("system.slice", None),
}
_ENTER = "echo $$ >/cg/$1/cgroup.procs && exec sleep 100000"


def start_processes(guest: Guest) -> None:
    """One in every group; pids of its own in one and in two namespaces; a zombie whose group is gone."""
    for at, (options, (group, _)) in enumerate(_V1.items()):
        run_steps(
            guest,
            f"mkdir -p /v1/{at}; mount -t cgroup -o {options} none /v1/{at}; mkdir -p /v1/{at}/{group}",
            f"(sh -c 'echo $$ >/v1/{at}/{group}/cgroup.procs && exec sleep 100005' &)",
        )
    run_steps(guest, "mkdir -p /cg; mount -t cgroup2 none /cg", f"echo '{_ENTER}' >/enter")
    run_steps(guest, "echo 'echo $$ >/cg/gone/cgroup.procs' >/die")
    for group in GROUPS:
        run_steps(guest, f'g="$(printf \'{group}\')"; mkdir -p "/cg/$g" && (sh /enter "$g" &)')
    run_steps(
        guest,
        f"mkdir /cg/deep; (cd /cg/deep; for i in $(seq {DEEP}); do mkdir {DEEP_NAME}; cd -P {DEEP_NAME}; done;"
        " exec sh -c 'echo $$ >cgroup.procs; exec sleep 100001') >/dev/null 2>&1 &",
        f"unshare -pf sh -c 'sh /enter docker/{ID}' &",
        "unshare -pf sh -c 'sleep 100002 & exec unshare -pf sleep 100003' &",
        "mkdir /cg/gone; sh -c 'sh /die & exec sleep 100004' &",
    )
    sleepers = "grep -l ^sleep /proc/[0-9]*/cmdline | wc -l"
    wait_until(
        guest,
        f"test $({sleepers}) -eq {len(GROUPS) + len(_V1) + 5} && grep -q '^State:.Z' /proc/[0-9]*/status",
        360,
    )
    run_steps(guest, "rmdir /cg/gone")


@dataclass(frozen=True)
class Said:
    """What /proc says of processes by pid: the path of the group, and the pid in every namespace."""

    groups: dict[int, bytes]
    pids: dict[int, list[int]]
    v1: dict[int, str]
    """By pid: a group in a hierarchy of v1, if not its root."""


def listing(guest: Guest) -> Said:
    rows = run_steps(
        guest,
        "grep -H -e ^0:: -e '^[1-9].*:/.' -e ^NSpid: /proc/[0-9]*/cgroup /proc/[0-9]*/status 2>/dev/null | xxd -p",
    )
    groups: dict[int, bytes] = {}
    pids: dict[int, list[int]] = {}
    v1: dict[int, str] = {}
    for row in bytes.fromhex("".join(rows.split())).splitlines():
        found = re.fullmatch(
            rb"/proc/(\d+)/(?:cgroup:0::(.*)|status:NSpid:\t(.*)|cgroup:\d+:[^:]*:/(.*))", row, re.DOTALL
        )
        assert found is not None, row
        if found[4] is not None:
            v1[int(found[1])] = found[4].decode()
        elif found[2] is None:
            pids[int(found[1])] = [int(number) for number in found[3].split()]
        else:
            groups[int(found[1])] = found[2]
    return Said(groups, pids, v1)


def capture(target: str, use_cache: bool = True) -> Snapshot:
    with open_kernel(detect_target(target), OpenOptions(use_cache=use_cache)) as kernel:
        return capture_snapshot(CaptureRequest.from_kernel(kernel))


@dataclass(frozen=True)
class Scene:
    before: Said
    after: Said
    snapshot: Snapshot
    dump: Path

    def processes(self) -> Iterator[tuple[int, Task]]:
        """Those that were there before and after."""
        for task in self.snapshot.tasks:
            if task.pid == task.tgid and task.pid in self.before.pids and task.pid in self.after.pids:
                yield task.pid, task


@pytest.fixture(scope="module", params=ENDS)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Guest.boot(kernel_or_skip(request.param), "shell") as guest:
        start_processes(guest)
        code, _ = guest.sh("mkdir \"/cg/$(printf 'new\\nline')\"")
        assert code, (
            "the kernel takes a newline in the name of a group: then /proc/PID/cgroup is no account of it"
        )
        before = listing(guest)
        guest.stop()
        snapshot = capture(f"qemu:{guest.qmp_socket}")
        dump = tmp_path_factory.mktemp("cgroups") / "dump"
        guest.dump(dump)
        guest.cont()
        after = listing(guest)
    yield Scene(before, after, snapshot, dump)
    dump.unlink()


def agrees(path: bytes, said: bytes) -> bool:
    """Whether a path is what /proc says: that says more of a group that is gone, and of a long path the first page."""
    if len(said) >= _SHOWN:
        return path.startswith(said) and len(path) >= len(said)
    return path in (said, said.removesuffix(b" (deleted)"))


def test_every_control_group_is_the_one_that_the_guest_says(scene: Scene) -> None:
    assert scene.snapshot.errors == []
    found = {pid: kernel_bytes(task.cgroup or "") for pid, task in scene.processes()}
    said = scene.before.groups
    assert found.keys() <= said.keys()
    assert {pid: (path, said[pid]) for pid, path in found.items() if not agrees(path, said[pid])} == {}
    assert len(set(found.values())) == len(GROUPS) + 3  # the root, the deep one, and the one that is gone
    assert [said[pid] for pid, path in found.items() if path == b"/gone"] == [b"/gone (deleted)"]


def test_a_path_longer_than_proc_shows_is_there_to_its_end(scene: Scene) -> None:
    deep = [task.cgroup for pid, task in scene.processes() if len(scene.before.groups[pid]) >= _SHOWN]
    assert deep == ["/deep" + f"/{DEEP_NAME}" * DEEP]


def test_containers_are_told_by_the_names_of_their_groups(scene: Scene) -> None:
    wanted = {f"/{group}": found for group, found in GROUPS.items()}
    by_path = {task.cgroup: task.container for _, task in scene.processes()}
    plain = {path: container for path, container in wanted.items() if "\\" not in path}
    assert {path: by_path[path] for path in plain} == plain
    box = "/machine.slice/machine-my\\x2dbox.scope"
    assert by_path[f"{box}/payload"] == Container(runtime=ContainerRuntime.NSPAWN, id="my-box")
    assert by_path[f"{box}/supervisor"] is None
    assert by_path["/machine.slice/machine-qemu\\x2d1\\x2dvm.scope"] is None
    elsewhere = scene.before.v1
    assert all(
        task.container is None
        for pid, task in scene.processes()
        if task.cgroup == "/" and pid not in elsewhere
    )


def test_containers_of_which_only_a_hierarchy_of_v1_knows_are_told_by_that(scene: Scene) -> None:
    said = scene.before.v1
    assert sorted(said.values()) == sorted(group for group, _ in _V1.values())
    found = {said[pid]: (task.cgroup, task.container) for pid, task in scene.processes() if pid in said}
    assert found == {group: ("/", container) for group, container in _V1.values()}


def test_pids_in_namespaces_are_those_of_the_guests_status(scene: Scene) -> None:
    said = {pid: numbers[-1] if len(numbers) > 1 else None for pid, numbers in scene.before.pids.items()}
    found = {pid: task.pid_in_namespace for pid, task in scene.processes()}
    assert found == {pid: said[pid] for pid in found}
    assert {len(scene.before.pids[pid]) for pid, number in found.items() if number is not None} == {2, 3}


def test_queries_and_facets_know_containers_by_runtime_and_pid(scene: Scene) -> None:
    index = TaskIndex(scene.snapshot)

    def groups(text: str) -> set[str | None]:
        return {scene.snapshot.tasks[at].cgroup for at in selected(index.mask(parse_query(text).root))}

    assert groups(f"runtime:docker container:{OTHER}") == {f"/docker/{ID}/docker/{OTHER}"}
    assert groups("container:my-box") == {"/machine.slice/machine-my\\x2dbox.scope/payload"}
    assert groups("pid_in_namespace:1 runtime:docker") == {f"/docker/{ID}"}
    facets = {facet.name: facet for facet in count_facets(index, index.everything, parse_query("").root)}
    counted = Counter(task.container.runtime.value for task in scene.snapshot.tasks if task.container)
    assert {term.label: term.count for term in facets["runtime"].terms} == counted
    assert sum(term.count for term in facets["container"].terms) == counted.total()


def test_a_dump_and_its_redacted_slice_tell_the_same_containers(scene: Scene, tmp_path: Path) -> None:
    assert [
        (task.address, task.cgroup, task.container, task.pid_in_namespace)
        for task in capture(str(scene.dump)).tasks
    ] == [(task.address, task.cgroup, task.container, task.pid_in_namespace) for task in scene.snapshot.tasks]
    with open_kernel(detect_target(str(scene.dump))) as kernel:
        piece = redact_slice(record(kernel, lambda what, done, total: None), ())
    out = io.BytesIO()
    piece.write(out)
    assert ID.encode() not in out.getvalue()
    assert OLD.encode() not in out.getvalue()
    assert DEEP_NAME.encode() not in out.getvalue()
    path = tmp_path / "slice"
    path.write_bytes(out.getvalue())
    redacted = capture(str(path), use_cache=False)

    def runtimes(snapshot: Snapshot) -> list[tuple[int, str | None, int | None]]:
        return [
            (
                task.address,
                None if task.container is None else task.container.runtime.value,
                task.pid_in_namespace,
            )
            for task in snapshot.tasks
        ]

    assert runtimes(redacted) == runtimes(scene.snapshot)
    ids = {task.container.id for task in redacted.tasks if task.container}
    assert not ids & {ID, OTHER, OLD, "my-box", "web", "old"}


def group_pages(kernel: OpenKernel, snapshot: Snapshot) -> set[int]:
    """Where css_sets, their groups, and what kernfs knows of those lie; of the deep one some."""
    prog, found = kernel.prog, set[int]()
    for task in snapshot.tasks:
        css_set = drgn.Object(prog, "struct task_struct *", task.address).cgroups
        found.add(css_set.value_())
        for link in list_for_each_entry(
            "struct cgrp_cset_link", css_set.cgrp_links.address_of_(), "cgrp_link"
        ):
            found |= {link.value_(), link.cgrp.value_()}
            node = link.cgrp.kn
            for _ in range(5):
                if not node:
                    break
                found |= {node.value_(), node.name.value_()}
                node = node.member_("__parent" if node.type_.type.has_member("__parent") else "parent")
                node = drgn.Object(prog, "struct kernfs_node *", node.value_())
    return {address & -PAGE for address in found}


def test_a_hole_in_what_groups_lie_on_makes_groups_missing_and_never_other_ones(scene: Scene) -> None:
    with open_kernel(detect_target(str(scene.dump))) as kernel:
        holes = Holes(kernel)
        whole = holes.capture()
        assert whole.errors == []
        missing = 0
        for page in sorted(group_pages(kernel, whole)):
            if not holes.is_there(page):
                continue
            with holes.hole(page):
                holed = holes.capture()
            assert differences(whole, holed) == []
            groups = {task.address: task.cgroup for task in whole.tasks}
            lost = [task for task in holed.tasks if task.cgroup is None and groups[task.address] is not None]
            assert all(task.container is None for task in lost)
            assert not lost or holed.errors
            missing += len(lost)
        assert missing > len(GROUPS)
