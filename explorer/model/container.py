"""Which container a control group is of: what each runtime calls the groups that it makes.

Names are all there is to tell by, and who may make a group may call it so: it is no proof. Of a container in a
container it is the inner one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from .base import KernelText, Record
from .text import kernel_text

__all__ = ("Container", "ContainerRuntime", "container_among", "container_of", "lasting_cgroup")


class ContainerRuntime(StrEnum):
    """Who made a container, as far as the name of its control group tells."""

    DOCKER = "docker"
    CONTAINERD = "containerd"
    CRIO = "cri-o"
    PODMAN = "podman"
    LXC = "lxc"
    """LXC, LXD and Incus."""
    NSPAWN = "nspawn"
    """systemd-nspawn, and what else registers a container of that kind with systemd-machined."""
    KUBERNETES = "kubernetes"
    """A container of a pod, by a runtime that the name does not tell."""
    OCI = "oci"
    """An id as all of docker, containerd, CRI-O and podman give them, in a group of somebody's choice."""


class Container(Record):
    runtime: ContainerRuntime
    id: KernelText
    """The runtime's id or name of it, in full."""


def _compiled(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode(), re.DOTALL)


class _Rule(NamedTuple):
    """What one runtime calls the group of a container."""

    runtime: ContainerRuntime
    name: str
    """All of the group's name, a regular expression; ``id`` in it is the container's."""
    parent: str = ""
    """All of the name of the group that it lies in; empty: any."""
    in_pod: bool = False
    """It lies in one of the kubelet's."""
    not_in: bytes = b""
    """A group in it that is the runtime's own."""


_ID = "(?P<id>[0-9a-f]{64})"
_NAME = "(?P<id>.+)"
#: The first that fits. What a runtime keeps for itself (``libpod-conmon-…``, ``lxc.monitor.…``) fits none.
_RULES = (
    _Rule(ContainerRuntime.DOCKER, rf"docker-{_ID}\.scope"),
    _Rule(ContainerRuntime.DOCKER, _ID, parent="docker"),
    _Rule(ContainerRuntime.CONTAINERD, rf"(.*:)?cri-containerd[-:]{_ID}(\.scope)?"),
    _Rule(ContainerRuntime.CONTAINERD, rf"nerdctl-{_ID}\.scope"),
    _Rule(ContainerRuntime.CONTAINERD, _ID, parent=r"k8s\.io"),
    _Rule(ContainerRuntime.CRIO, rf"crio-{_ID}(\.scope)?"),
    _Rule(ContainerRuntime.PODMAN, rf"libpod-(payload-)?{_ID}(\.scope)?"),
    _Rule(ContainerRuntime.KUBERNETES, _ID, in_pod=True),
    _Rule(ContainerRuntime.LXC, rf"lxc\.payload\.{_NAME}"),
    _Rule(ContainerRuntime.LXC, _NAME, parent=r"lxc(\.payload)?"),
    # libvirt's virtual machines are called so, too
    _Rule(
        ContainerRuntime.NSPAWN, rf"machine-(?!qemu\\){_NAME}\.scope",
        parent=r"machine\.slice", not_in=b"supervisor",
    ),
    _Rule(
        ContainerRuntime.NSPAWN, rf"systemd-nspawn@{_NAME}\.service",
        parent=r"machine\.slice", not_in=b"supervisor",
    ),
    _Rule(ContainerRuntime.OCI, _ID),
)  # fmt: skip
_NAMES = [(rule, _compiled(rule.name), _compiled(rule.parent)) for rule in _RULES]
_KUBELET = b"kubepods"
#: How systemd writes what a unit's name may not hold.
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


#: Ids of containers, pods and runs, numbers of sessions.
_OF_ONE_BOOT = re.compile(
    r"[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{12,}"
    r"|(?<=[-@_])\d+(?=\.scope)|(?<=\brun-)[ru][0-9a-f]+"
)


def lasting_cgroup(path: KernelText) -> KernelText:
    """The path of a control group with ``#`` for what is made anew on each boot."""
    return _OF_ONE_BOOT.sub("#", path)


@lru_cache(512)
def container_of(path: bytes) -> Container | None:
    """The container that a control group is of, or is in; ``None`` where its path names none.

    :param path: from the root of the hierarchy, as ``/proc/PID/cgroup`` has it
    """
    names = path.split(b"/")
    pod = next((at for at, name in enumerate(names) if name.startswith(_KUBELET)), len(names))
    for at in range(len(names) - 1, 0, -1):
        for rule, own, parent in _NAMES:
            found = own.fullmatch(names[at])
            if found is None or (rule.in_pod and at < pod):
                continue
            if rule.parent and not parent.fullmatch(names[at - 1]):
                continue
            if rule.not_in and rule.not_in in names[at + 1 : at + 2]:
                return None
            name = _ESCAPED.sub(lambda escape: bytes([int(escape[1], 16)]), found["id"])
            return Container(runtime=rule.runtime, id=kernel_text(name))
    return None


def container_among(paths: Iterable[bytes]) -> Container | None:
    """As :func:`container_of`, of groups in several hierarchies; if they differ, the first by runtime and id."""
    found = [container for path in paths if (container := container_of(path)) is not None]
    return min(found, key=lambda container: (container.runtime, container.id), default=None)
