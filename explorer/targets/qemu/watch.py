"""A guest that may not have a kernel yet: drgn is attached once, and its memory searched until there is one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from explorer.targets.drgn_calls import physical_reader
from explorer.targets.dumps import FOUND, describes_memory, top_table, translate
from explorer.targets.errors import TargetError
from explorer.targets.opened import OpenProgram
from explorer.targets.qemu.attach import Attached, announced_kernel, attach_qemu, reads_how, use_kernel
from explorer.targets.qemu.control import runs_before_any_kernel
from explorer.targets.qemu.starts import PageStarts
from explorer.targets.vmcoreinfo import PhysicalRead, VmcoreInfo, find_vmcoreinfo, parse_found

__all__ = ("GuestWatch",)

_MAX_CANDIDATES = 64
#: Searched at every call: memory below here, where the kernel has put its VMCOREINFO page in every boot seen, and so
#: much of the rest in turn. All of a large guest's memory would take longer than the step it runs between two searches.
_ALWAYS = 64 << 20
_IN_TURN = 64 << 20
#: For so long, where the beginnings of pages can be looked at, and not while the CPU runs what comes before any kernel:
#: firmware, or what unpacks it. At every so manieth call all is searched as where these cannot be told: what QEMU says
#: of its own memory may not be so.
_LOOK_S = 0.002
_EVEN_SO = 20
_TEXT = 2 * 4096


class GuestWatch:
    """Watches a guest's memory for its kernel, and for another one in its place.

    :param ram: (first, end) physical addresses of its RAM
    """

    def __init__(self, address: str, ram: list[tuple[int, int]], *, stopped: bool) -> None:
        self._address = address
        self._ram = ram
        self._stopped = stopped
        self._attached: Attached | None = None
        self._info: VmcoreInfo | None = None
        self._dead: dict[bytes, tuple[int, int]] = {}
        self._turn = 0
        self._starts: PageStarts | None = None
        self._calls = 0

    def find_kernel(self) -> OpenProgram | None:
        """The kernel, once its VMCOREINFO is in memory and true of it; ``None`` before.

        Not all memory is searched by one call: one that lies far up may be found some calls late.

        The program's memory is this object's: :meth:`release` lets go of both.
        """
        attached = self._attach()
        found = self._search(attached)
        if found is None:
            return None
        info, note = found
        attached = self._attached = use_kernel(attached, self._address, info)
        self._info = info
        notes = [reads_how(attached), *note]
        return OpenProgram(
            attached.prog, "qemu", f"qemu:{self._address}", info, self._stopped, notes, closers=[self.release]
        )

    def declare_dead(self, clock: int, value: int) -> None:
        """The kernel that was found runs no more. Its memory may outlast it, a reset even, and would be found again.

        :param clock: virtual address of its ``jiffies``; while these are ``value``, it is dead
        """
        if self._info is not None and len(self._dead) < _MAX_CANDIDATES:
            self._dead[self._info.raw] = (clock, value)

    def is_there(self) -> bool:
        """Whether the kernel that was found still is: its page tables lead to its own release."""
        if self._attached is None or self._info is None:
            return False
        return describes_memory(physical_reader(self._attached.prog), self._info)

    @property
    def landmark(self) -> tuple[int, int] | None:
        """A virtual address that the kernel which was found always maps, and the physical one behind it."""
        info = self._info
        return None if info is None else (info.symbols["swapper_pg_dir"], top_table(info))

    def finds_another(self) -> bool:
        """Whether there is another kernel in memory, with the one that was found or instead of it."""
        if self._attached is None or self._info is None:
            return False
        return self._search(self._attached, other_than=self._info) is not None

    def release(self) -> None:
        """Hang up; the next search attaches anew, with nothing known."""
        attached, self._attached, self._info = self._attached, None, None
        if attached is not None:
            attached.release()

    def _attach(self) -> Attached:
        if self._attached is None:
            attached = self._attached = attach_qemu(self._address, None)
            self._calls = 0
            self._starts = PageStarts.of_guest(attached.monitor, self._ram) if attached.direct else None
            if not attached.direct:
                self.release()
                raise TargetError(
                    f"qemu:{self._address}: recording needs QEMU's memory itself, and gets only its monitor: "
                    f"{attached.why_not}"
                )
        return self._attached

    def _search(
        self, attached: Attached, other_than: VmcoreInfo | None = None
    ) -> tuple[VmcoreInfo, list[str]] | None:
        read = physical_reader(attached.prog)
        if other_than is None:
            announced = announced_kernel(attached, f"qemu:{self._address}")
            if announced is not None and not self._is_dead(read, announced):
                return announced, []
        ranges = self._ram if other_than is not None else self._promising_ranges(attached)
        for physical, info in parse_found(islice(find_vmcoreinfo(read, ranges), _MAX_CANDIDATES)):
            if other_than is not None and info.raw == other_than.raw:
                continue
            if describes_memory(read, info) and not self._is_dead(read, info):
                return info, [FOUND.format(physical)]
        return None

    def _promising_ranges(self, attached: Attached) -> Iterable[tuple[int, int]]:
        """What of the guest's RAM to search this time: pages that begin as a text does, if these can be told."""
        call, self._calls = self._calls, self._calls + 1
        if self._starts is None or not (call + 1) % _EVEN_SO:
            return self._next_ranges()
        if runs_before_any_kernel(attached.monitor.monitor("info registers")):
            return ()
        # Those that are there already, as far up as they may be, are found at once.
        pages = self._starts.find(_LOOK_S if call else None)
        return (
            (page, min(page + _TEXT, end)) for page in pages for low, end in self._ram if low <= page < end
        )

    def _next_ranges(self) -> list[tuple[int, int]]:
        """What of the guest's RAM to search this time."""
        chosen = [(low, min(end, _ALWAYS)) for low, end in self._ram if low < _ALWAYS]
        parts = [
            (start, min(start + _IN_TURN, end))
            for low, end in self._ram
            for start in range(max(low, _ALWAYS), end, _IN_TURN)
        ]
        if parts:
            chosen.append(parts[self._turn % len(parts)])
            self._turn += 1
        return chosen

    def _is_dead(self, read: PhysicalRead, info: VmcoreInfo) -> bool:
        if info.raw not in self._dead:
            return False
        clock, value = self._dead[info.raw]
        physical = translate(read, info, clock)
        data = None if physical is None else read(physical, 8)
        return data is None or int.from_bytes(data, "little") == value
