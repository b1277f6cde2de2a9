"""The control group of a task, in the default hierarchy (v2), and the container that it is of.

Where that group is no container's, a group that the task has in another hierarchy (v1) may be: Docker and LXC make
theirs in all of v1's where systemd mounts those, and in none of v2.

Mirrors ``proc_cgroup_show()`` of kernel/cgroup/cgroup.c and ``kernfs_path_from_node()`` of fs/kernfs/dir.c, read from
the hierarchy's root and without the `` (deleted)`` behind a group that was removed. Tasks in the same groups share a
``css_set``: each is read once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

import drgn

from explorer.capture.memory import (
    AnyTask,
    Decoder,
    Memory,
    MemoryReader,
    ReadError,
    find_member,
    make_decoder,
    member_offset,
)
from explorer.model import Container, container_among, container_of, kernel_text

__all__ = ("CgroupReader", "TaskCgroup", "cgroup_names")

_MAX_NAME = 255  # NAME_MAX
_MAX_PATH = 64 << 10  # bytes: of what is longer than PATH_MAX /proc shows the beginning
#: What all paths together may cost, as those of files: a dump made for it has as many deep ones as tasks.
_CREDIT = 32 << 20
_CREDIT_OF_A_PATH = 512
_COST_OF_A_STEP = 32
_MAX_HIERARCHIES = 256  # each has a controller, or a name that somebody gave it
_LIVE_ATTEMPTS = 4
_WHERE = "cgroups"


class TaskCgroup(NamedTuple):
    """What a task's record says of it; ``None`` where that is not known."""

    path: str | None
    container: Container | None


_UNKNOWN = TaskCgroup(None, None)


class _Node(NamedTuple):
    """A ``struct kernfs_node``."""

    parent: int
    name_at: int
    name: bytes


class _Layout(NamedTuple):
    task_cgroups: int
    css_set_cgroup: int
    cgroup_node: int
    node: Decoder
    """parent, name"""
    css_set_links: int
    """``cgrp_links``: one for every hierarchy."""
    link: Decoder
    """next, cgroup"""
    link_node: int


def _probe(prog: drgn.Program) -> _Layout | None:
    """:raises LookupError: if it has control groups, and lacks something"""
    cgroups = find_member(prog.type("struct task_struct"), "cgroups")
    if cgroups is None:  # CONFIG_CGROUPS is not set
        return None
    return _Layout(
        task_cgroups=cgroups.offset,
        css_set_cgroup=member_offset(prog, "css_set", "dfl_cgrp"),
        cgroup_node=member_offset(prog, "cgroup", "kn"),
        node=make_decoder(prog, "kernfs_node", ("__parent", "parent"), "name"),  # 6.15: protected by RCU
        css_set_links=member_offset(prog, "css_set", "cgrp_links"),
        link=make_decoder(prog, "cgrp_cset_link", "cgrp_link.next", "cgrp"),
        link_node=member_offset(prog, "cgrp_cset_link", "cgrp_link"),
    )


class _Nodes:
    """The nodes of kernfs, each read once."""

    def __init__(self, reader: MemoryReader, layout: _Layout) -> None:
        self._reader = reader
        self._layout = layout
        self._nodes: dict[int, _Node] = {}
        self._credit = _CREDIT

    def forget(self) -> None:
        self._nodes.clear()

    def path(self, css_set: int) -> bytes:
        """That of its group in the default hierarchy. :raises ReadError: if a part of it is not there"""
        return self._path(self.group(css_set))

    def group(self, css_set: int) -> int:
        """Its ``cgroup`` in the default hierarchy."""
        return self._reader.read_u64(css_set + self._layout.css_set_cgroup)

    def other_paths(self, css_set: int) -> Iterator[bytes]:
        """Those of its groups in all other hierarchies. :raises ReadError: if a part of one is not there"""
        for group in self.other_groups(css_set):
            yield self._path(group)

    def other_groups(self, css_set: int) -> Iterator[int]:
        """Its ``cgroup`` in every hierarchy but the default one."""
        layout, default = self._layout, self.group(css_set)
        head = css_set + layout.css_set_links
        here = self._reader.read_u64(head)
        for _ in range(_MAX_HIERARCHIES):
            if here == head:
                return
            here, group = self._reader.decode(layout.link, here - layout.link_node)
            if group != default:
                yield group
        raise ReadError(f"css_set 0x{css_set:x} is in more than {_MAX_HIERARCHIES} hierarchies")

    def _path(self, group: int) -> bytes:
        return b"".join(b"/" + node.name for node in reversed(self.above(group))) or b"/"

    def above(self, group: int) -> list[_Node]:
        """The node of a ``cgroup`` and those above, without the root's. :raises ReadError: if one is not there"""
        here = self._node(self._reader.read_u64(group + self._layout.cgroup_node))
        self._credit += _CREDIT_OF_A_PATH
        length, above = 0, []
        while here.parent:
            above.append(here)
            length += 1 + len(here.name)
            self._credit -= _COST_OF_A_STEP + len(here.name)
            if length > _MAX_PATH:
                raise ReadError(f"the path of its control group is longer than {_MAX_PATH} bytes")
            if self._credit < 0:
                raise ReadError(
                    "all paths of control groups together are longer than those of any real system"
                )
            here = self._node(here.parent)
        return above

    def _node(self, address: int) -> _Node:
        known = self._nodes.get(address)
        if known is None:
            known = self._nodes[address] = self._read_node(address)
        return known

    def _read_node(self, address: int) -> _Node:
        parent, name_at = self._reader.decode(self._layout.node, address)
        name = self._reader.read_c_string(name_at, _MAX_NAME + 1)
        if len(name) > _MAX_NAME:
            raise ReadError(f"kernfs_node 0x{address:x} has a name of more than {_MAX_NAME} bytes")
        return _Node(parent, name_at, name)


class CgroupReader:
    """Reads them. Of a kernel that runs, a task that moved meanwhile is where it is now."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._layout = memory.probe(_WHERE, _probe)
        self._nodes = None if self._layout is None else _Nodes(memory.reader, self._layout)
        self.known: dict[int | None, TaskCgroup] = {}
        """By address of the ``css_set``."""

    def is_known(self, css_set: int | None) -> bool:
        """Whether nothing has to be read for a task in it."""
        return self._layout is None or css_set in self.known

    def read_cgroup(self, task: AnyTask) -> TaskCgroup:
        """That of a task; what cannot be read is an error entry for the first task that it is wanted for."""
        layout, nodes, memory = self._layout, self._nodes, self._memory
        css_set = task.cgroups
        if layout is None or nodes is None or (css_set is None and memory.layout.has_task_cgroups):
            return _UNKNOWN  # if it has one, an entry of the task says what is missing
        with memory.errors.guard_newer(task.name, _WHERE):
            pointer = task.address + layout.task_cgroups
            if css_set is None:
                css_set = memory.reader.read_u64(pointer)
            known = self.known.get(css_set)
            if known is not None:
                return known
            self.known[css_set] = _UNKNOWN  # what fails is not tried again
            path = self._settled_path(nodes, pointer, css_set) if memory.live else nodes.path(css_set)
            self.known[css_set] = TaskCgroup(kernel_text(path), container_of(path))
            if self.known[css_set].container is None:
                self._look_elsewhere(nodes, task, pointer, css_set)
            return self.known[css_set]
        return _UNKNOWN

    def _look_elsewhere(self, nodes: _Nodes, task: AnyTask, pointer: int, css_set: int) -> None:
        """For a container that another hierarchy tells."""
        with self._memory.errors.guard_newer(task.name, "cgroups of other hierarchies"):
            found = container_among(nodes.other_paths(css_set))
            if self._memory.live and self._memory.reader.read_u64(pointer) != css_set:
                raise ReadError("the task moved while they were read")
            self.known[css_set] = self.known[css_set]._replace(container=found)

    def _settled_path(self, nodes: _Nodes, pointer: int, css_set: int) -> bytes:
        """:raises ReadError: if it cannot be read, or the task moves each time"""
        fault = ReadError("the task moved at every attempt to read it")
        for _ in range(_LIVE_ATTEMPTS):
            nodes.forget()  # one that was removed may be another by now
            path = None
            try:
                path = nodes.path(css_set)
            except ReadError as error:
                fault = error
            now = self._memory.reader.read_u64(pointer)
            if path is not None and now == css_set:
                return path
            css_set = now
        raise fault


def cgroup_names(prog: drgn.Program, tasks: Iterable[int]) -> set[int]:
    """Where the names in the paths of these tasks' groups lie, as far as they can be read."""
    reader, layout = MemoryReader(prog), _probe(prog)
    if layout is None:
        return set()
    nodes, found, known = _Nodes(reader, layout), set[int](), set[int]()
    for task in tasks:
        with suppress(ReadError):
            css_set = reader.read_u64(task + layout.task_cgroups)
            if css_set not in known:
                known.add(css_set)
                # One after the other: where one cannot be read, the names of those before it are known all the same.
                for group in chain((nodes.group(css_set),), nodes.other_groups(css_set)):
                    found.update(node.name_at for node in nodes.above(group))
    return found
