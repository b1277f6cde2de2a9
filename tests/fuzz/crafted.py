"""Mutators of memory that is made to keep a reader busy: structures that lie in one another, share what hangs from
them, or hold themselves. Chance does not build them; somebody who sends a dump can."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import drgn

from .bases import WarmKernel
from .memory import Patch

__all__ = ("CRAFTED_MUTATORS",)

_FREE = 0xFFFFC90FE0000000  # nothing of the slices is mapped there
_ROOM = 1 << 16
_NODE = 2
_SLOTS = 64
_WORD = struct.Struct("<Q")


def _offset(kernel: WarmKernel, structure: str, member: str) -> int:
    return int(drgn.offsetof(kernel.prog.type(f"struct {structure}"), member))


def _symbol(kernel: WarmKernel, name: str) -> int | None:
    return kernel.kernel.types.symbol_address(name)


def _words(address: int, *words: int) -> Patch:
    return Patch(address, 8 * len(words), struct.pack(f"<{len(words)}Q", *words), False)


def _radix_trees(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Nodes that hold one another at random, under an idr that is walked; the list of tasks broken or not."""
    stride = rng.choice((16, 576))
    count = rng.choice((1, 2, 12, 400))
    data = bytearray(count * stride + 1024)
    slots = _offset(kernel, "xa_node", "slots")
    falling = rng.random() < 0.5
    for node in range(count):
        at = node * stride
        data[at + _offset(kernel, "xa_node", "shift")] = (
            6 * (11 - node) % 66 if falling else rng.randrange(256)
        )
        for slot in range(_SLOTS):
            below = min(node + 1, count - 1) if falling and rng.random() < 0.9 else rng.randrange(count)
            value = rng.choice(
                (_FREE + below * stride + _NODE, rng.choice((0, 1 << 63, rng.getrandbits(64))))
            )
            _WORD.pack_into(data, at + slots + 8 * slot, value)
    patches = [Patch(_FREE, len(data), bytes(data), False)]
    idrs = [("btf_idr", "idr", ""), ("worker_pool_idr", "idr", ""), ("init_pid_ns", "pid_namespace", "idr.")]
    for name, structure, member in rng.sample(idrs, rng.randint(1, 3)):
        address = _symbol(kernel, name)
        if address is not None:
            head = address + _offset(kernel, structure, f"{member}idr_rt.xa_head")
            patches.append(_words(head, _FREE + _NODE))
    init_task = _symbol(kernel, "init_task")
    if init_task is not None and rng.random() < 0.8:
        patches.append(_words(init_task + _offset(kernel, "task_struct", "tasks"), 0, 0))
    return patches


def _directories(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """A deep chain of dentries, or a bush of them, in which many tasks are."""
    count, length = rng.choice(((300, 255), (4000, 255), (30_000, 1), (50_000, 0)))
    stride = rng.choice((8, 64, 192))
    data = bytearray(count * stride + _ROOM)
    name = _FREE + count * stride + _ROOM // 2
    data[name - _FREE : name - _FREE + length] = b"d" * length
    members = [
        _offset(kernel, "dentry", m) for m in ("d_parent", "d_name.len", "d_name.name", "d_hash.pprev")
    ]
    root = rng.choice(rng.choice(kernel.sites["dentry-parents"])).node
    bush = rng.random() < 0.3
    for at in range(count):
        above = _FREE + (rng.randrange(at) if bush and at else at - 1) * stride if at else root
        for member, value in zip(members, (above, length, name, _FREE), strict=True):
            _WORD.pack_into(data, at * stride + member, value)
    patches = [Patch(_FREE, len(data), bytes(data), False)]
    for site in rng.sample(sites := _dentry_pointers(kernel), min(len(sites), 1 << rng.randint(0, 8))):
        patches.append(_words(site, _FREE + rng.choice((count - 1, rng.randrange(count))) * stride))
    return patches


def _dentry_pointers(kernel: WarmKernel) -> list[int]:
    structs = [fs.address for fs in kernel.snapshot.fs_structs]
    mounts = [mount.address for mount in kernel.snapshot.mounts]
    return [
        *(
            fs + _offset(kernel, "fs_struct", f"{which}.dentry")
            for fs in structs
            for which in ("root", "pwd")
        ),
        *(mount + _offset(kernel, "mount", "mnt_mountpoint") for mount in mounts),
    ]


def _chain(count: int, stride: int, next_at: int, prev_at: int | None, ends: tuple[int, int]) -> bytearray:
    """Nodes at ``_FREE + _ROOM`` on, so many bytes apart, each with a pointer to the next and maybe to the last."""
    data = bytearray(count * stride + 2 * _ROOM)
    nodes = [ends[0], *(_FREE + _ROOM + step * stride for step in range(count)), ends[1]]
    for step in range(1, count + 1):
        at = nodes[step] - _FREE
        _WORD.pack_into(data, at + next_at, nodes[step + 1])
        if prev_at is not None:
            _WORD.pack_into(data, at + prev_at, nodes[step - 1])
    return data


def _nested_tasks(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """A list of tasks that begin a few bytes after one another; what lies between is noise, or pointers."""
    init_task = _symbol(kernel, "init_task")
    assert init_task is not None
    head = init_task + _offset(kernel, "task_struct", "tasks")
    count, stride = rng.choice((100, 3000, 100_000)), rng.choice((16, 24, 64))
    data = _chain(count, stride, 0, 8, (head, head))
    if stride > 16:
        for step in range(count):
            value = rng.choice((0, rng.getrandbits(64), _FREE + rng.randrange(len(data)) // 8 * 8))
            _WORD.pack_into(data, _ROOM + step * stride + 16, value)
    last = _FREE + _ROOM + (count - 1) * stride
    return [Patch(_FREE, len(data), bytes(data), False), _words(head, _FREE + _ROOM, last)]


def _nested_mounts(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Namespaces that share one long tree, or list, of mounts within one another."""
    namespaces = [namespace.address for namespace in kernel.snapshot.mount_namespaces]
    count, stride = rng.choice((100, 3000, 100_000)), rng.choice((24, 32, 320))
    if kernel.prog.type("struct mount").has_member("mnt_node"):
        data = _chain(count, stride, 8, None, (0, 0))
        pointers = [address + _offset(kernel, "mnt_namespace", "mounts.rb_node") for address in namespaces]
    else:
        head = namespaces[0] + _offset(kernel, "mnt_namespace", "list")
        data = _chain(count, stride, 0, 8, (head, head))
        pointers = [address + _offset(kernel, "mnt_namespace", "list") for address in namespaces]
    first = _FREE + _ROOM
    return [
        Patch(_FREE, len(data), bytes(data), False),
        *(_words(pointer, first) for pointer in pointers if rng.random() < 0.8),
    ]


def _shared_works(kernel: WarmKernel, rng: random.Random) -> list[Patch]:
    """Workqueues, pools and pwqs whose lists lead into one long one."""
    count, stride = rng.choice((100, 5000, 100_000)), rng.choice((16, 32))
    data = _chain(count, stride, 0, 8, (_FREE, rng.choice((_FREE, 0, _FREE + _ROOM))))
    patches = [Patch(_FREE, len(data), bytes(data), False)]
    queues = kernel.snapshot.workqueues
    members = [
        member
        for member in ("pwqs", "list")
        if kernel.prog.type("struct workqueue_struct").has_member(member)
    ]
    for queue in rng.sample(queues, min(len(queues), 1 << rng.randint(0, 6))):
        at = queue.address + _offset(kernel, "workqueue_struct", rng.choice(members))
        patches.append(_words(at, _FREE + _ROOM + rng.randrange(count) * stride))
    return patches


CRAFTED_MUTATORS: dict[str, Callable[[WarmKernel, random.Random], list[Patch]]] = {
    "radix-trees": _radix_trees,
    "directories": _directories,
    "nested-tasks": _nested_tasks,
    "nested-mounts": _nested_mounts,
    "shared-works": _shared_works,
}
