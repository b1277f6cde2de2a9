"""Mounts that no namespace has and no task is on: every superblock knows its mounts.

Mirrors ``super_blocks`` of fs/super.c and ``super_block.s_mounts``: a list of ``mount.mnt_instance``, since 6.18 a
chain of ``mount.mnt_next_for_sb``. The kernel's own mounts (those of ``kern_mount()`` and of stacked filesystems) are
passed by: what is wanted are mounts that were unmounted and live on, and the namespaces that lead nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import drgn

from explorer.capture.memory import (
    Decoder,
    Memory,
    ReadError,
    find_member,
    is_kernel_pointer,
    make_decoder,
    member_offset,
    probed,
)

from .mounts import MNT_UMOUNT, MountTable
from .namespaces import load_namespaces

__all__ = ("load_unreached",)

#: include/linux/mount.h: nobody holds it any more, it is about to be freed.
_MNT_DOOMED = 0x1000000
_MAX_SUPERBLOCKS = 200_000
_MAX_MOUNTS = 2_000_000
_LIVE_ATTEMPTS = 4


class _Layout(NamedTuple):
    superblock: Decoder
    """s_list.next, first mount"""
    list: int
    mount: Decoder
    """mnt_flags, mnt_ns, next mount"""
    instance: int
    """Of the list's node in a mount; 0 where mounts point at each other."""
    mounts: int


def _probe(prog: drgn.Program) -> _Layout:
    is_list = find_member(prog.type("struct mount"), "mnt_next_for_sb") is None
    first = "s_mounts.next" if is_list else "s_mounts"
    return _Layout(
        superblock=make_decoder(prog, "super_block", "s_list.next", first),
        list=member_offset(prog, "super_block", "s_list"),
        mount=make_decoder(
            prog, "mount", "mnt.mnt_flags", "mnt_ns", ("mnt_next_for_sb", "mnt_instance.next")
        ),
        instance=member_offset(prog, "mount", "mnt_instance") if is_list else 0,
        mounts=member_offset(prog, "super_block", "s_mounts"),
    )


def load_unreached(memory: Memory, mounts: MountTable, is_slice: bool) -> None:
    """Read into the table the mounts and namespaces that no task leads to.

    Where they cannot be found, :attr:`MountTable.lost` says why, and it is an error, but of a slice: one that was cut
    by an earlier version has what that version read.
    """
    mounts.lost = _load_hidden_mounts(memory, mounts)
    if mounts.lost is None or not is_slice:
        load_namespaces(memory, mounts)
    if mounts.lost is not None and not is_slice:
        memory.errors.add("superblocks", "mounts", mounts.lost)


def _load_hidden_mounts(memory: Memory, mounts: MountTable) -> str | None:
    """Read into the table what was unmounted lazily and is still there, and every namespace that a mount is in.

    Of a kernel that runs, a list that changed is walked again.

    :return: why there may be more of them; ``None`` if there cannot be
    """
    try:
        layout = probed(memory.prog, "superblocks", _probe)
    except LookupError as error:
        return str(error)
    head = memory.symbols.symbol_address("super_blocks")
    if head is None:
        return "the kernel's symbol table has no super_blocks"
    fault = ""
    for _ in range(_LIVE_ATTEMPTS if memory.live else 1):
        try:
            for mount in list(_hidden(memory, layout, head, mounts)):
                with memory.errors.guard(f"mount 0x{mount:x}", "mount"):
                    found = mounts.read_mount(mount)
                    if memory.live and not _is_hidden(found.flags or 0, found.mnt_ns or 0):
                        del mounts.mounts[mount]  # it was freed meanwhile, and is something else by now
            return None
        except ReadError as error:
            fault = f"the list of superblocks: {error}"
    return fault


def _hidden(memory: Memory, layout: _Layout, head: int, mounts: MountTable) -> Iterator[int]:
    """The mounts that were unmounted and are still there. Namespaces met on the way are loaded.

    :raises ReadError: where a list cannot be followed
    """
    budget = iter(range(_MAX_MOUNTS))
    for superblock, first in _superblocks(memory, layout, head):
        end = superblock + layout.mounts if layout.instance else 0
        at = first
        while at != end:
            if not is_kernel_pointer(at):
                raise ReadError(f"the mounts of superblock 0x{superblock:x} lead to 0x{at & (1 << 64) - 1:x}")
            if next(budget, None) is None:
                raise ReadError(f"all superblocks together have more than {_MAX_MOUNTS} mounts")
            address = at - layout.instance
            known = mounts.mounts.get(address)
            if known is not None and known.sb_next is not None:
                at = known.sb_next
                continue
            flags, namespace, at = memory.reader.decode(layout.mount, address)
            if is_kernel_pointer(namespace):
                mounts.load_namespace(namespace)
            elif _is_hidden(flags, namespace):
                yield address


def _is_hidden(flags: int, namespace: int) -> bool:
    """Unmounted lazily, and not about to be freed."""
    return not namespace and bool(flags & MNT_UMOUNT) and not flags & _MNT_DOOMED


def _superblocks(memory: Memory, layout: _Layout, head: int) -> Iterator[tuple[int, int]]:
    """Every superblock, and what its list of mounts begins with."""
    seen: set[int] = set()
    node = memory.reader.read_u64(head)
    while node != head:
        superblock = node - layout.list
        if not is_kernel_pointer(node) or node in seen or len(seen) >= _MAX_SUPERBLOCKS:
            raise ReadError(f"the list of superblocks breaks off at 0x{node & (1 << 64) - 1:x}")
        seen.add(node)
        decoder = layout.superblock
        node, first = memory.reader.decode(decoder, superblock)
        yield superblock, first
