"""The machines that can be recorded: a guest in steps, a guest that runs on, this machine."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Self

from explorer.keeper import Keeper
from explorer.targets import (
    OpenKernel,
    OpenOptions,
    OpenProgram,
    TargetError,
    TargetSpec,
    drop_privileges,
    open_kernel,
)
from explorer.targets.qemu import (
    GuestControl,
    GuestEndedError,
    GuestWatch,
    QmpConnection,
    connect,
    let_run_on,
    query_guest,
)
from explorer.targets.symbols import attach_types

from .loop import NotReadableError

__all__ = ("LiveMachine", "QemuMachine")

_NOT_YET = "no kernel in the guest's memory describes itself yet (no VMCOREINFO)"


class QemuMachine:
    """A QEMU guest.

    :param address: the QMP socket that drgn reads through
    :param control: a second QMP socket; with ``stopping`` the guest stands still while it is read, without one it is
        only watched, and with neither it is not even known when it ends
    """

    def __init__(
        self, address: str, control: str | None, *, stopping: bool, options: OpenOptions | None = None
    ) -> None:
        self._address = address
        self._stopping = stopping
        self._options = options or OpenOptions()
        self._stack = ExitStack()
        self._control: GuestControl | None = None
        self._keeper: Keeper | None = None
        self._stops = False
        self._control_address = control
        self._watch: GuestWatch
        self._opened: OpenKernel | None = None
        if control is not None and stopping:
            # While there are rights, and before it stands still: whatever ends this process, it does not stay so.
            self._keeper = Keeper(lambda: _let_run_on(control))

    def connect(self) -> None:
        """Find out where its memory is; with ``stopping``, stop it. :raises TargetError: if it cannot be controlled"""
        address, control = self._address, self._control_address
        name = f"qemu:{address}"
        try:
            if control is None:
                with QmpConnection(address) as qmp:
                    _, ram = query_guest(qmp, name)
            else:
                self._control = guest = _connect(control)
                self._stack.callback(guest.close)
                if self._stopping:
                    self._stops = True
                    guest.settle()
                _, ram = query_guest(guest, name)
        except BaseException:
            self._stack.close()
            if self._keeper is not None and self._stops:
                self._keeper.call()
            elif self._keeper is not None:
                self._keeper.dismiss()
            raise
        if self._control is not None and self._stopping:
            self._stack.callback(self._control.leave_running)
        self._watch = GuestWatch(address, ram, stopped=self._stopping)
        self._stack.callback(self._watch.release)

    def attach(self) -> None:
        """Make sure, before anything is written, that the guest can be read; one that has no kernel yet can be.

        :raises TargetError: if it cannot
        """
        program = self._watch.find_kernel()
        if program is not None:
            self._opened = self._with_types(program)

    def close(self) -> None:
        """Hang up. A guest that was stopped stays stopped only if it has ended."""
        self._stack.close()
        if self._keeper is not None:
            self._keeper.dismiss()

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, seconds: float) -> float:
        if self._control is not None:
            return self._control.run_for(seconds, stopping=self._stopping)
        begin = time.monotonic()
        time.sleep(seconds)
        return time.monotonic() - begin

    def take_resets(self) -> int:
        return 0 if self._control is None else self._control.take_resets()

    def open_kernel(self) -> OpenKernel:
        opened, self._opened = self._opened, None
        if opened is not None:
            return opened
        try:
            program = self._watch.find_kernel()
        except TargetError as error:
            # Nobody serves the socket any more: the guest has ended between two frames.
            raise GuestEndedError("closed", f"QEMU has ended or hung up: {error}") from error
        if program is None:
            raise NotReadableError(_NOT_YET)
        return self._with_types(program)

    def _with_types(self, program: OpenProgram) -> OpenKernel:
        types = attach_types(
            program.prog,
            mode=self._options.types or ("dwarf" if self._options.symbols else "btf"),
            symbols=self._options.symbols,
            use_cache=self._options.use_cache,
            force=self._options.force,
            symbols_file=self._options.symbols_file,
        )
        return OpenKernel(program, types, [*program.notes, *types.notes])

    def is_there(self) -> bool:
        return self._watch.is_there()

    def is_running(self) -> bool | None:
        landmark = self._watch.landmark
        if landmark is None or self._control is None or not self._stopping:
            return None
        try:
            return self._control.maps(*landmark)
        except TargetError as error:
            raise GuestEndedError("closed", f"QEMU has ended or hung up: {error}") from error

    def finds_another(self) -> bool:
        return self._watch.finds_another()

    def declare_dead(self, clock: int, value: int) -> None:
        self._watch.declare_dead(clock, value)

    def forget_kernel(self) -> None:
        self._watch.release()


def _let_run_on(control: str) -> list[str]:
    """In a process of its own, which has no rights left when QEMU begins to speak."""
    try:
        over = connect(control)
    except TargetError as error:
        return [f"{control}: {error}"]
    drop_privileges()
    return let_run_on(control, over)


def _connect(control: str) -> GuestControl:
    try:
        return GuestControl(control)
    except TargetError as error:
        raise TargetError(f"--control {control}: {error}") from error


class LiveMachine:
    """The running kernel: it cannot be stopped, reset or replaced while this program runs.

    :param opened: it, if it has been opened already
    """

    def __init__(self, options: OpenOptions | None = None, opened: OpenKernel | None = None) -> None:
        self._options = options or OpenOptions()
        self._opened = opened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    def attach(self) -> None:
        """Open the kernel: from then on this process needs no rights. :raises TargetError: if it cannot be opened"""
        self._opened = self._opened or open_kernel(TargetSpec("live", "live"), self._options)

    def advance(self, seconds: float) -> float:
        begin = time.monotonic()
        time.sleep(seconds)
        return time.monotonic() - begin

    def take_resets(self) -> int:
        return 0

    def open_kernel(self) -> OpenKernel:
        opened, self._opened = self._opened, None
        return opened or open_kernel(TargetSpec("live", "live"), self._options)

    def is_there(self) -> bool:
        return True

    def is_running(self) -> bool | None:
        return True

    def finds_another(self) -> bool:
        return False

    def declare_dead(self, clock: int, value: int) -> None:
        pass

    def forget_kernel(self) -> None:
        pass
