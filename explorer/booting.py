"""For pytest: the fixture ``boot_kernel``, which boots kernels under QEMU and reads them while they stand still.

pytest finds it by the entry point ``nullfs-explorer`` of the group ``pytest11``: a test names it and imports nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import pytest

if TYPE_CHECKING:
    from explorer.model import Snapshot
    from explorer.recorder import QemuMachine
    from explorer.targets import OpenKernel

__all__ = ("BootKernel", "BootedKernel", "boot_kernel")

#: How far a guest runs between two looks at it, in seconds.
_STEP_S = 0.5


class BootedKernel:
    """A guest that runs while it is waited for, and stands still while it is read. It ends with the test."""

    def __init__(self, machine: QemuMachine, words: str) -> None:
        self._machine, self._words = machine, words
        self._kernel: OpenKernel | None = None

    def run_until(self, where: str, *, timeout: float = 300.0) -> Snapshot:
        """Let it run until a task matches, and capture it there, whole and consistent.

        :param where: a query, as in docs/queries.md
        :param timeout: seconds of this machine's

        :raises QueryError: if it is none
        :raises TimeoutError: if no task did by then; says what was there last
        :raises TargetError: if the guest cannot be read
        """
        from explorer.analysis.query import parse_query
        from explorer.recorder import NotReadableError

        query, deadline, seen = parse_query(where), time.monotonic() + timeout, ""
        while time.monotonic() < deadline:
            self._machine.advance(_STEP_S)
            try:
                snapshot = self._capture()
            except (NotReadableError, LookupError) as error:  # the kernel has not set itself up yet
                seen = " ".join(str(error).split())
                continue
            if any(map(query.bind(snapshot), snapshot.tasks)):
                return snapshot
            seen = f"there are {len(snapshot.tasks)} tasks"
        raise TimeoutError(f"{self._words}: no task matches {where!r} after {timeout:g} s: {seen}")

    def _capture(self) -> Snapshot:
        from explorer.capture import CaptureRequest, capture_snapshot
        from explorer.plugin import PluginSet

        if self._kernel is None:
            self._kernel = self._machine.open_kernel()
        self._kernel.types.refresh()
        return capture_snapshot(CaptureRequest.from_kernel(self._kernel, PluginSet().plugins))


class BootKernel(Protocol):
    """What the fixture is: call it with what to boot."""

    def __call__(
        self,
        kernel: str | PathLike[str],
        *,
        initrd: str | PathLike[str] | None = None,
        append: str = "",
        memory: int = 512 << 20,
        disk: str | PathLike[str] | None = None,
        console: str | PathLike[str] | None = None,
        accelerator: Literal["auto", "kvm", "tcg"] = "auto",
    ) -> BootedKernel:
        """:param kernel: a bzImage
        :param append: the kernel's command line
        :param memory: bytes of RAM
        :param disk: a raw image, read-only, as the first virtio disk
        :param console: a file for what the guest prints on its serial line
        :param accelerator: how QEMU runs it; ``auto``: with KVM where that starts

        :raises TargetError: if QEMU is missing, or does not start
        """


@pytest.fixture
def boot_kernel() -> Iterator[BootKernel]:
    """Boots kernels that are ended with the test: ``boot_kernel("vmlinuz", initrd="initrd.img")``."""
    from explorer.recorder import QemuMachine
    from explorer.targets.qemu import BootOptions, StartedGuest

    with ExitStack() as guests:

        def boot(
            kernel: str | PathLike[str],
            *,
            initrd: str | PathLike[str] | None = None,
            append: str = "",
            memory: int = 512 << 20,
            disk: str | PathLike[str] | None = None,
            console: str | PathLike[str] | None = None,
            accelerator: Literal["auto", "kvm", "tcg"] = "auto",
        ) -> BootedKernel:
            files = {"initrd": initrd, "disk": disk, "console": console}
            paths = {name: None if path is None else Path(path) for name, path in files.items()}
            options = BootOptions(
                Path(kernel), append=append, memory=memory, accelerator=accelerator, **paths
            )
            guest = guests.enter_context(StartedGuest(options))
            machine = guests.enter_context(QemuMachine(guest.memory, guest.control, stopping=True))
            return BootedKernel(machine, str(kernel))

        yield boot
