"""Names for what events hold only addresses of: mounts by the snapshot of the beginning and by what lies there now,
frames by kallsyms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

from explorer.analysis import find_pid1
from explorer.capture import MountIdentity
from explorer.model import (
    KernelText,
    LookupPlace,
    Placement,
    Snapshot,
    TaskKind,
    TraceFrame,
)

from .kallsyms import Kallsyms

__all__ = ("MountPlaces", "StackNames", "kernel_kind")

#: What is innermost in a stack because of the probe: up to the last of these it is not the lookup's own.
_PROBED = frozenset({"return_to_handler", "arch_rethook_trampoline", "terminate_walk", "path_init"})
_MOST_OF_PROBE = 24
#: Mounts that are looked at each time, and those that are kept in mind.
_MOST_LOOKS, _MOST_MOUNTS = 256, 1_000_000
#: With whatever the compiler put behind it.
_WORKER = "process_one_work"
_KERNEL_ENTRY = "ret_from_fork"
_USER_ENTRIES = ("entry_", "asm_")
_KINDS = {
    "call_usermodehelper_exec_async": TaskKind.USERMODEHELPER,
    "worker_thread": TaskKind.KWORKER,
    "rescuer_thread": TaskKind.RESCUER,
    "io_wq_worker": TaskKind.IO_WORKER,
}


class MountPlaces:
    """Mounts by the address of their ``struct vfsmount``: as the snapshot has them, and those that come later.

    A mount that goes leaves its memory to another. So those that lookups began in are looked at again (:meth:`look`)
    before they are named: one that is the same as before was the same meanwhile, of another nobody can tell which of
    both it was, and it is not known.
    """

    def __init__(
        self, snapshot: Snapshot, vfsmount_offset: int, read: Callable[[int], MountIdentity | None]
    ) -> None:
        """:param read: which mount lies at an address now"""
        self._offset = vfsmount_offset
        self._read = read
        self._known: dict[int, LookupPlace] = {}
        self._identities: dict[int, MountIdentity] = {}
        self._doubtful: set[int] = set()
        self._judged_by = {snapshot.kernel.knullfs, *_init_roots(snapshot)}
        """Addresses that stand for a mount of the beginning in the trace's header."""
        placements = _placements(snapshot)
        for mount in snapshot.mounts:
            self._known[mount.address] = LookupPlace(
                mount=mount.address,
                id=mount.id,
                fstype=mount.fstype,
                placement=placements.get(mount.address),
            )
            identity = MountIdentity.of(mount)
            if identity is not None:
                self._identities[mount.address] = identity

    def look(self, vfsmounts: Iterable[int | None]) -> None:
        """See what lies now where lookups began that have just ended. Bounded: of more than that nothing is known."""
        found = {vfsmount - self._offset for vfsmount in vfsmounts if vfsmount}
        self._doubtful.clear()
        for number, address in enumerate(sorted(found)):
            if number >= _MOST_LOOKS:
                self._doubtful.add(address)
                continue
            before, now = self._identities.get(address), self._read(address)
            if now is not None and now == before:
                continue
            if before is not None or now is None:
                self._doubtful.add(address)
            self._known.pop(address, None)
            self._identities.pop(address, None)
            if now is not None and len(self._identities) < _MOST_MOUNTS:
                self._identities[address] = now
                self._known[address] = LookupPlace(
                    mount=address, id=now.id, fstype=now.fstype, placement=None
                )
            if address in self._judged_by:
                self._known.pop(address, None)  # whatever lies there now, it is not what the header means

    def find(self, vfsmount: int | None) -> LookupPlace | None:
        """Of 0, which is none, and of what is not known for certain ``None``."""
        if not vfsmount:
            return None
        mount = vfsmount - self._offset
        if mount in self._doubtful or (mount in self._judged_by and mount not in self._known):
            return None
        return self.at(mount)

    def at(self, mount: int) -> LookupPlace:
        """By the address of the ``struct mount``."""
        known = self._known.get(mount)
        return known or LookupPlace(mount=mount, id=None, fstype=None, placement=None)


def _init_roots(snapshot: Snapshot) -> Iterable[int]:
    pid1 = find_pid1(snapshot)
    fs = None if pid1 is None or pid1.fs is None else snapshot.fs_by_address.get(pid1.fs)
    return () if fs is None or fs.root is None else (fs.root.mount,)


def _placements(snapshot: Snapshot) -> dict[int, Placement]:
    """Of the roots of mounts: what all ``fs_struct`` say of those that have their root on it."""
    found: dict[int, set[Placement | None]] = {}
    for fs in snapshot.fs_structs:
        if fs.root is not None and fs.root.path == "/":
            found.setdefault(fs.root.mount, set()).add(fs.root.placement)
    known = {mount: only for mount, each in found.items() if len(each) == 1 and (only := next(iter(each)))}
    if snapshot.kernel.knullfs is not None:
        known[snapshot.kernel.knullfs] = Placement.NULLFS
    return known


class StackNames:
    """Frames of stacks, with their functions."""

    def __init__(self, symbols: Kallsyms) -> None:
        self._symbols = symbols
        self._known: dict[int, TraceFrame] = {}

    def look(self) -> None:
        """See which modules there are now: before stacks that have come are named."""
        if self._symbols.look():
            self._known.clear()

    def frames(self, stack: list[int]) -> list[TraceFrame]:
        """From the caller of ``path_init()`` or ``terminate_walk()`` on."""
        begin = 0
        for at, address in enumerate(stack[:_MOST_OF_PROBE]):
            symbol = self._symbols.find(address)
            if symbol is not None and symbol.function in _PROBED:
                begin = at + 1
        return [self._frame(address) for address in stack[begin:]]

    def work_function(self, frames: list[TraceFrame]) -> int | None:
        """Where the function begins that ``process_one_work()`` has called; ``None``: none, or it has no name."""
        for inner, outer in pairwise(frames):
            if outer.module is None and (outer.function or "").startswith(_WORKER):
                return self._symbols.start(inner.address - 1)
        return None

    def _frame(self, address: int) -> TraceFrame:
        known = self._known.get(address)
        if known is None:
            # A return address: a call that never returns is the last of its function.
            symbol = self._symbols.find(address - 1)
            known = TraceFrame(
                address=address,
                function=None if symbol is None else symbol.function,
                module=None if symbol is None else symbol.module,
            )
            if symbol is not None:
                self._known[address] = known
        return known


def kernel_kind(frames: Iterable[TraceFrame]) -> TaskKind | None:
    """What sort of task asks for a lookup in the kernel's own name; ``None``: a system call, or a fault."""
    names: list[KernelText] = [frame.function or "" for frame in frames]
    if not names or not names[-1].startswith(_KERNEL_ENTRY):
        return None
    if any(name.startswith(_USER_ENTRIES) for name in names):
        return None
    return next((_KINDS[name] for name in names if name in _KINDS), TaskKind.KTHREAD)
