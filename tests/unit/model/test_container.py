"""What the names of control groups tell of containers."""

from __future__ import annotations

import time

import pytest

from explorer.analysis.redact import Redactor
from explorer.model import (
    Container,
    ContainerRuntime,
    container_among,
    container_of,
    kernel_bytes,
    kernel_text,
)
from explorer.model.container import _RULES

ID, OTHER = "3f2a" * 16, "0b1c" * 16
RUNTIME = ContainerRuntime
#: Path -> runtime and id.
CONTAINERS = {
    f"/system.slice/docker-{ID}.scope": (RUNTIME.DOCKER, ID),
    f"/docker/{ID}": (RUNTIME.DOCKER, ID),
    f"/docker/{ID}/system.slice/cron.service": (RUNTIME.DOCKER, ID),
    f"/docker/{ID}/docker/{OTHER}": (RUNTIME.DOCKER, OTHER),
    f"/docker/{ID}/kubelet/kubepods/pod1/{OTHER}": (RUNTIME.KUBERNETES, OTHER),
    f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope": (RUNTIME.CONTAINERD, ID),
    f"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}": (RUNTIME.CONTAINERD, ID),
    f"/user.slice/nerdctl-{ID}.scope": (RUNTIME.CONTAINERD, ID),
    f"/k8s.io/{ID}": (RUNTIME.CONTAINERD, ID),
    f"/kubepods.slice/crio-{ID}.scope/container": (RUNTIME.CRIO, ID),
    f"/kubepods/besteffort/pod1/crio-{ID}": (RUNTIME.CRIO, ID),
    f"/machine.slice/libpod-{ID}.scope/container": (RUNTIME.PODMAN, ID),
    f"/system.slice/web.service/libpod-payload-{ID}": (RUNTIME.PODMAN, ID),
    f"/libpod_parent/libpod-{ID}": (RUNTIME.PODMAN, ID),
    f"/kubepods/burstable/pod1/{ID}": (RUNTIME.KUBERNETES, ID),
    "/lxc.payload.web/init.scope": (RUNTIME.LXC, "web"),
    "/lxc/101/ns": (RUNTIME.LXC, "101"),
    "/lxc.payload/web": (RUNTIME.LXC, "web"),
    "/machine.slice/machine-my\\x2dbox.scope/payload": (RUNTIME.NSPAWN, "my-box"),
    "/machine.slice/systemd-nspawn@web.service/payload/init.scope": (RUNTIME.NSPAWN, "web"),
    f"/actions_job/{ID}": (RUNTIME.OCI, ID),
}
NONE = (
    "/",
    "",
    "/system.slice/docker.service",
    f"/system.slice/docker-{ID[:-1]}.scope",
    f"/machine.slice/libpod-conmon-{ID}.scope",
    f"/kubepods.slice/crio-conmon-{ID}.scope",
    "/kubepods.slice/kubepods-burstable.slice",
    "/lxc.monitor.web",
    "/machine.slice/machine-web.scope/supervisor",
    "/machine.slice/systemd-nspawn@web.service/supervisor",
    "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
    f"/docker/{ID.upper()}",
)


@pytest.mark.parametrize("path", CONTAINERS)
def test_each_runtimes_groups_tell_its_container(path: str) -> None:
    runtime, name = CONTAINERS[path]
    assert container_of(path.encode()) == Container(runtime=runtime, id=name)


@pytest.mark.parametrize("path", NONE)
def test_a_group_of_no_container_tells_none(path: str) -> None:
    assert container_of(path.encode()) is None


def test_each_rule_of_the_table_is_needed_by_one_of_these_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.model import container

    for index in range(len(_RULES)):
        names = [*container._NAMES[:index], *container._NAMES[index + 1 :]]
        with monkeypatch.context() as patch:
            patch.setattr(container, "_NAMES", names)
            container_of.cache_clear()
            found = {path: container_of(path.encode()) for path in CONTAINERS}
        container_of.cache_clear()
        wanted = {path: Container(runtime=runtime, id=name) for path, (runtime, name) in CONTAINERS.items()}
        assert found != wanted, _RULES[index]


@pytest.mark.parametrize("path", [*CONTAINERS, *NONE])
def test_a_redacted_path_tells_a_container_of_the_same_runtime_by_another_id(path: str) -> None:
    names = Redactor()
    plain, redacted = container_of(path.encode()), container_of(kernel_bytes(names.text(path)))
    assert (plain and plain.runtime) == (redacted and redacted.runtime)
    if plain is not None and redacted is not None and plain.id != "101":  # a short number is kept
        assert plain.id != redacted.id


def test_names_that_are_no_text_are_taken_as_they_are() -> None:
    found = container_of(b"/lxc.payload.\xff\n\x1b")
    assert found == Container(runtime=RUNTIME.LXC, id=kernel_text(b"\xff\n\x1b"))


def test_a_path_made_to_cost_time_costs_none() -> None:
    hostile = [b"/kubepods" * 7000, b"/docker" * 9000, b"/cri-containerd:" * 4000, b"/a" * 32000]
    hostile += [b"/" + b":" * 60000 + b"cri-containerd:" * 300, b"/lxc.payload." * 1]
    started = time.process_time()
    for path in hostile:
        container_of(path)
    assert time.process_time() - started < 5


def test_of_groups_in_several_hierarchies_the_same_container_is_told_in_whatever_order() -> None:
    paths = [b"/", b"/lxc.payload.web", f"/docker/{ID}".encode(), b"/system.slice"]
    assert (
        container_among(paths) == container_among(reversed(paths)) == Container(runtime=RUNTIME.DOCKER, id=ID)
    )
    assert container_among(paths[:2]) == Container(runtime=RUNTIME.LXC, id="web")
    assert container_among([b"/", b"/system.slice"]) is None
