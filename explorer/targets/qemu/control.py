"""A guest under control: it runs for a moment, stands still to be read, and says when it ends.

Its own QMP socket, beside the one that drgn reads through: QEMU serves one client on each.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from typing import Any

from explorer.targets.addresses import is_kernel_pointer
from explorer.targets.errors import TargetError
from explorer.targets.qemu.qmp import ENDED, QmpConnection

__all__ = ("GuestControl", "GuestEndedError", "let_run_on", "runs_before_any_kernel")

_ENDING = {
    "guest-shutdown": ("shutdown", "the guest powered itself off"),
    "guest-reset": (
        "shutdown",
        "the guest reset itself, and QEMU ends then (-no-reboot): a reboot, or a triple fault",
    ),
    "guest-panic": ("panic", "the guest's kernel panicked"),
    "host-qmp-quit": ("closed", "QEMU was told to quit"),
    "host-signal": ("closed", "a signal ended QEMU"),
    "host-ui": ("closed", "QEMU's window was closed"),
}
#: ``RUN_STATE_INTERNAL_ERROR`` (qapi/run-state.json): accel/kvm/kvm-all.c, when KVM_RUN returns what it cannot handle.
_GIVEN_UP = "internal-error"
_WHY_GIVEN_UP = "QEMU gave the guest up (run state internal-error), as it does where KVM cannot run it"

_TRANSLATED = re.compile(r"gpa: (0x[0-9a-f]{1,16})\s*")
_USER_MODE = re.compile(r"\bCPL=3\b")
_RIP = re.compile(r"\bRIP=([0-9a-f]{1,16})\b")
_CR3 = re.compile(r"\bCR3=([0-9a-f]{1,16})\b")
#: Bytes that QEMU may say while the guest runs for a moment; a message counts for more than its own. QEMU limits most
#: of its events to one a second.
_MAX_HEARD = 4 << 20
_MESSAGE_COST = 256
#: ``PTI_USER_PGTABLE_BIT``: a process's tables for user mode lie one page behind those with the kernel.
_PTI_USER_TABLES = 1 << 12


class GuestEndedError(Exception):
    """The guest will not run any more: ``code`` is for programs, the message a sentence."""

    def __init__(self, code: str, reason: str, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.code = code
        self.seconds = seconds
        """For how long it ran before that."""


class GuestControl(QmpConnection):
    """Runs and stops the CPUs.

    :ivar resets: how often the guest was reset since it was last asked.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._resets = 0
        self._panicked = False

    def take_resets(self) -> int:
        """How often the guest was reset since this was last called."""
        resets, self._resets = self._resets, 0
        return resets

    def is_running(self) -> bool:
        """Whether the CPUs run."""
        status = self.execute("query-status")
        return bool(status.get("running", True)) if isinstance(status, dict) else True

    def run_for(self, seconds: float, *, stopping: bool) -> float:
        """Let the guest run and, if ``stopping``, stop it; how many seconds it ran.

        :raises GuestEndedError: when it ends meanwhile
        """
        begin = time.monotonic()
        try:
            if stopping:
                self.execute("cont")
                begin = time.monotonic()
            self._watch(begin + seconds)
            if stopping:
                self.execute("stop")
            ran = time.monotonic() - begin
            self._take_events()
            self._check_state(ran)
        except TargetError as error:
            ran = time.monotonic() - begin
            self._take_events(ran)
            with contextlib.suppress(TargetError):  # it has ended: that is said
                self._check_state(ran)
            why = str(error) if ENDED in str(error) else f"{ENDED}: {error}"
            raise GuestEndedError("closed", why, ran) from error
        return ran

    def _check_state(self, ran: float) -> None:
        """QEMU gives a guest up, and stays: it runs again only when it is reset. :raises GuestEndedError: if it has"""
        status = self.execute("query-status")
        if isinstance(status, dict) and status.get("status") == _GIVEN_UP:
            raise GuestEndedError(_GIVEN_UP, _WHY_GIVEN_UP, ran)

    def maps(self, virtual: int, physical: int) -> bool | None:
        """Whether the first CPU, which is stopped, has a kernel's address where that kernel has it.

        ``None`` if that says nothing: in user mode, and on its way in and out, a CPU may have page tables without the
        kernel (PTI), and a QEMU may not tell.
        """
        answer = self.monitor(f"gva2gpa {virtual:#x}").strip()
        if (match := _TRANSLATED.fullmatch(answer)) is not None:
            return int(match[1], 16) == physical
        if answer != "Unmapped" or _has_user_tables(self.monitor("info registers")):
            return None
        return False

    def settle(self) -> None:
        """Stop the guest, and forget what has happened to it so far."""
        self.execute("stop")
        self.events.clear()

    def leave_running(self) -> None:
        """Let the guest run, if it has not ended; it may have been hung up on, because a reply took too long."""
        with contextlib.suppress(TargetError):
            self.execute("cont")
            return
        let_run_on(self._address)

    def _watch(self, deadline: float) -> None:
        """Wait, and look at every event at once: an end is not waited past."""
        heard = 0
        while (left := deadline - time.monotonic()) > 0:
            if b"\n" not in self._buffer and not select.select([self._socket], [], [], left)[0]:
                return
            message, size = self._receive()
            heard += size + _MESSAGE_COST
            if heard > _MAX_HEARD:
                raise TargetError("it says more than any QEMU has to say")
            self._keep_event(message, size)
            self._take_events(time.monotonic() - deadline)

    def _take_events(self, ran: float = 0.0) -> None:
        while self.events:
            event = self.events.popleft()
            name, data = event.get("event"), event.get("data")
            values: dict[str, Any] = data if isinstance(data, dict) else {}
            if name == "RESET":
                self._resets += 1
            elif name == "GUEST_PANICKED":
                self._panicked = True
            elif name == "SHUTDOWN":
                code, reason = _ENDING.get(
                    str(values.get("reason")),
                    ("shutdown", f"QEMU shut the guest down ({values.get('reason')})"),
                )
                if self._panicked:
                    code, reason = _ENDING["guest-panic"]
                raise GuestEndedError(code, reason, max(ran, 0.0))


def let_run_on(address: str, over: socket.socket | None = None) -> list[str]:
    """Have a guest run whose client has gone, or was hung up on.

    :param over: a connection that there is already
    :returns: why that was not possible, if it was not
    """
    try:
        with QmpConnection(address, over=over) as again:
            again.execute("cont")
    except TargetError as error:
        return [f"{address}: {error}"]
    return []


def runs_before_any_kernel(registers: str) -> bool:
    """Whether the first CPU, by ``info registers``, is in firmware or in what unpacks a kernel: not in long mode, or
    at an address that is no kernel's, and not in user mode."""
    if _USER_MODE.search(registers) is not None:
        return False
    rip = _RIP.search(registers)
    return "EIP=" in registers if rip is None else not is_kernel_pointer(int(rip[1], 16))


def _has_user_tables(registers: str) -> bool:
    """Whether a CPU may have the page tables of user mode: it is there, or in the kernel's code for entry and exit.

    What a kexec jumps through has low addresses, and the next kernel has tables of its own for kernel mode.
    """
    if _USER_MODE.search(registers) is not None:
        return True
    rip, cr3 = _RIP.search(registers), _CR3.search(registers)
    if rip is None or cr3 is None:
        return False
    return is_kernel_pointer(int(rip[1], 16)) and bool(int(cr3[1], 16) & _PTI_USER_TABLES)
