"""A guest whose memory is a file, in which a few bytes are changed while it is stopped: states no call can make."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from explorer.analysis.audit import run_audit
from explorer.capture.memory.decode import find_member
from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Finding, Severity, Snapshot, Task
from explorer.targets.detect import detect_target
from explorer.targets.drgn_calls import physical_reader
from explorer.targets.dumps.pagetable import translate
from explorer.targets.kernel import OpenKernel, open_kernel
from tests.kernels.lab import Guest, GuestOptions

__all__ = ("Poked", "above_info", "boot_poked")


class Poked:
    """A stopped guest whose memory can be changed."""

    def __init__(self, kernel: OpenKernel, memory: Path) -> None:
        self.kernel = kernel
        self.memory = memory
        self.healthy = self.capture()

    def capture(self) -> Snapshot:
        return capture_snapshot(CaptureRequest.from_kernel(self.kernel))

    def task(self, name: str) -> Task:
        return next(task for task in self.healthy.tasks if task.comm == name)

    def offset(self, type_name: str, *members: str) -> int:
        found = find_member(self.kernel.prog.type(f"struct {type_name}"), *members)
        assert found is not None
        return found.offset

    def words(self, address: int, count: int = 1) -> list[int]:
        """64-bit words of the kernel's memory."""
        return list(struct.unpack(f"<{count}Q", self.kernel.prog.read(address, 8 * count)))

    @contextmanager
    def changed(self, *changes: tuple[int, bytes]) -> Iterator[list[Finding]]:
        """The findings above info while these bytes are at these virtual addresses."""
        old: list[tuple[int, bytes]] = []
        info = self.kernel.program.vmcoreinfo
        with self.memory.open("r+b", buffering=0) as memory:
            for address, data in changes:
                physical = translate(physical_reader(self.kernel.prog), info, address)
                assert physical is not None
                memory.seek(physical)
                old.append((physical, memory.read(len(data))))
                memory.seek(physical)
                memory.write(data)
            try:
                yield above_info(self.capture())
            finally:
                for physical, data in reversed(old):
                    memory.seek(physical)
                    memory.write(data)


def above_info(snapshot: Snapshot) -> list[Finding]:
    found = run_audit(snapshot).findings
    # No plugins here: kdevtmpfs is claimed by one.
    return [
        finding
        for finding in found
        if finding.severity is not Severity.INFO
        and not any("kdevtmpfs" in ref.label for ref in finding.evidence)
    ]


@contextmanager
def boot_poked(line: str, scenario: str) -> Iterator[Poked]:
    """Boot one, and stop it."""
    with Guest.boot(line, scenario, GuestOptions(memory_file=True)) as guest:
        guest.stop()
        with open_kernel(detect_target(f"qemu:{guest.qmp_socket}")) as kernel:
            yield Poked(kernel, guest.memory_path)
