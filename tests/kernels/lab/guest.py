"""A kernel running in QEMU under software emulation, driven over its serial console and QMP."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from tests.kernels.lab.console import Console
from tests.kernels.lab.control import Control
from tests.kernels.lab.errors import GuestDiedError, LabError
from tests.kernels.lab.initramfs import build_initramfs
from tests.kernels.lab.kernels import Kernel, get_kernel
from tests.kernels.lab.oracle import Oracle, parse_oracle
from tests.kernels.lab.scenarios import Scenario, find_scenario
from tests.kernels.lab.screen import SerialScreen

__all__ = ("Guest", "GuestOptions", "boot_until")

_T = TypeVar("_T")
_BOOT_ATTEMPTS = 3
#: Without cmpxchg16b, which QEMU 7.2's emulation gets wrong: 6.12 dies at it in slab allocation.
_CPU = "Nehalem,-cx16"
_READY_TIMEOUT_S = 240.0
_ORACLE_TIMEOUT_S = 240.0
_START_TIMEOUT_S = 30.0
_END_TIMEOUT_S = 10.0
_SHELL_TIMEOUT_S = 120.0
_MAX_SHELL_LINE = 8000


@dataclass(frozen=True)
class GuestOptions:
    """How to run a guest.

    ``memory_mb``: None for what the scenario needs. ``append``: more kernel command line. ``vmcoreinfo``: give QEMU
    the device through which the guest publishes VMCOREINFO. ``filler_mb``: dead weight in the initramfs.
    ``memory_file``: keep the guest's memory in a file (``Guest.memory_path``), a raw image of physical memory.
    ``paused``: start with the CPUs stopped (``cont()`` runs them). ``wait``: let ``boot()`` return only when the
    scenario is made. ``disk``: a read-only image the guest sees as /dev/vda; with it comes a second serial line,
    ``Guest.line``. ``scratch``: without ``disk``, an image the guest sees as /dev/vda and may write. ``tcp``: one more
    QMP socket, on a port of the loopback (``Guest.tcp_port``). ``reboot``: a guest that resets boots again instead of
    ending. ``clock``: what the guest's clock begins with, in place of this machine's time (QEMU's ``-rtc base``).
    """

    memory_mb: int | None = None
    smp: int = 1
    append: str = ""
    vmcoreinfo: bool = True
    filler_mb: int = 0
    memory_file: bool = False
    paused: bool = False
    wait: bool = True
    disk: Path | None = None
    scratch: Path | None = None
    tcp: bool = False
    reboot: bool = False
    clock: str | None = None


def _qemu_command(kernel: Kernel, scenario: Scenario, options: GuestOptions, directory: Path) -> list[str]:
    memory = f"{options.memory_mb or scenario.memory_mb}M"
    append = f"console=ttyS0 loglevel=4 panic=-1 nx.scenario={scenario.name} {options.append}".strip()
    command = [
        # QEMU must not outlive the tests, whatever ends them
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("qemu-system-x86_64", "-nodefaults", "-nographic"),
        *(() if options.reboot else ("-no-reboot",)),
        *("-accel", "tcg,thread=single", "-cpu", _CPU, "-smp", str(options.smp), "-m", memory),
        *("-kernel", str(kernel.vmlinuz), "-initrd", str(directory / "initrd"), "-append", append),
        *("-chardev", f"socket,id=console,path={directory / 'console'}", "-serial", "chardev:console"),
        *("-qmp", f"unix:{directory / 'tool'},server=on,wait=off"),
        *("-qmp", f"unix:{directory / 'tool-control'},server=on,wait=off"),
        *("-qmp", f"unix:{directory / 'control'},server=on,wait=off"),
    ]
    if options.memory_file:
        backend = f"memory-backend-file,id=ram,size={memory},mem-path={directory / 'ram'},share=on"
        command += ["-object", backend, "-M", "q35,memory-backend=ram"]
    else:
        command += ["-M", "q35"]
    if options.disk is not None:
        command += ["-drive", f"file={options.disk},if=virtio,format=raw,readonly=on"]
        command += ["-chardev", f"socket,id=line,path={directory / 'line'}", "-serial", "chardev:line"]
    if options.scratch is not None:
        command += ["-drive", f"file={options.scratch},if=virtio,format=raw,cache=unsafe"]
    if options.tcp:
        command += ["-qmp", "tcp:127.0.0.1:0,server=on,wait=off"]
    if options.vmcoreinfo:
        command += ["-device", "vmcoreinfo"]
    if options.paused:
        command.append("-S")
    if options.clock is not None:
        command += ["-rtc", f"base={options.clock}"]
    return command


class Guest:
    """One running guest; a context manager that leaves no process and no file behind.

    ``retries`` says why earlier boots of this guest failed; ``states`` and ``skipped`` are what its scenario
    printed: state -> pid, and state -> the errno with which this kernel refused it.
    """

    def __init__(self, kernel: Kernel, scenario: Scenario, options: GuestOptions) -> None:
        self.kernel = kernel
        self.scenario = scenario
        self.options = options
        self.states: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        # an AF_UNIX path has at most 107 bytes: $TMPDIR may be too long
        self.directory = Path(tempfile.mkdtemp(prefix="nxlab-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._is_ready = False
        self.console = Console(self.directory / "console")
        self.line = Console(self.directory / "line")
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def boot(
        cls, kernel: Kernel | str, scenario: str = "healthy", options: GuestOptions | None = None
    ) -> Guest:
        """Boot ``kernel`` (or the newest of a line) into ``scenario``.

        QEMU's emulation is not always faithful: a guest that dies before its scenario is ready is booted again,
        up to three times in all, with a warning for each.

        :raises GuestDiedError: it died every time.
        :raises LabError: QEMU does not start, or the scenario could not be made.
        """
        options = options or GuestOptions()
        found, made = get_kernel(kernel) if isinstance(kernel, str) else kernel, find_scenario(scenario)
        if not options.wait or options.paused:
            return cls(found, made, options)
        name = f"{found.release} {scenario}"
        return boot_until(lambda: cls(found, made, options), cls.wait_ready, name)[0]

    def _start(self) -> None:
        initrd = build_initramfs(self.kernel, self.scenario, self.options.filler_mb)
        (self.directory / "initrd").write_bytes(initrd)
        command = _qemu_command(self.kernel, self.scenario, self.options, self.directory)
        with (self.directory / "stderr").open("wb") as stderr:
            try:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True
                )
            except FileNotFoundError as error:
                raise LabError(f"the lab needs {error.filename}") from None
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.console.accept(0.2) or (self.options.disk and not self.line.accept(0.2)):
            self._check_start(self._process, deadline)
        while self._control is None:
            try:
                self._control = Control(self.directory / "control")
            except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
                self._check_start(self._process, deadline)
                time.sleep(0.05)

    def _check_start(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        if process.poll() is not None or time.monotonic() > deadline:
            said = (self.directory / "stderr").read_text(errors="replace").strip()
            raise LabError(f"QEMU does not start: {said or 'it says nothing'}")

    @property
    def control(self) -> Control:
        """The harness's own QMP connection."""
        if self._control is None:
            raise LabError("the guest is closed")
        return self._control

    @property
    def pid(self) -> int:
        """QEMU's pid."""
        if self._process is None:
            raise LabError("the guest is closed")
        return self._process.pid

    @property
    def qmp_socket(self) -> Path:
        """A second QMP socket, free for the tool under test."""
        return self.directory / "tool"

    @property
    def control_socket(self) -> Path:
        """A third QMP socket: the tool under test may stop the guest through it."""
        return self.directory / "tool-control"

    @property
    def tcp_port(self) -> int:
        """The port of the QMP socket on 127.0.0.1 (``GuestOptions.tcp``): QEMU chose it."""
        for chardev in self.control.command("query-chardev"):
            match = re.match(r"disconnected:tcp:127\.0\.0\.1:(\d+)", chardev["filename"])
            if match:
                return int(match[1])
        raise LabError("QEMU listens on no TCP port")

    @property
    def memory_path(self) -> Path:
        """The guest's memory as a file (``GuestOptions.memory_file``); file offset = physical address below 2 GB."""
        return self.directory / "ram"

    def wait_ready(self, timeout_s: float = _READY_TIMEOUT_S) -> None:
        """Wait until the scenario is made.

        :raises GuestDiedError: the guest ended, or was silent for ``timeout_s`` seconds.
        :raises LabError: the scenario says that a part of it failed.
        """
        if self._is_ready:
            return
        self.console.read_until(rb"NX READY", timeout_s)
        log = bytes(self.console.log)
        failed = re.findall(rb"^NX FAIL (.*?)\r?$", log, re.MULTILINE)
        if failed:
            raise LabError(
                f"{self.scenario.name} on {self.kernel.release} failed: {b', '.join(failed).decode()}"
            )
        for target, word in ((self.states, rb"STATE"), (self.skipped, rb"SKIP")):
            found = re.findall(rb"^NX " + word + rb" (\S+) (\d+)\r?$", log, re.MULTILINE)
            target.update((name.decode(), int(number)) for name, number in found)
        self._is_ready = True

    def oracle(self) -> Oracle:
        """What the guest's kernel says of every task now; the guest must be running.

        :raises LabError: the listing is cut or something else is printed into it.
        """
        self.wait_ready()
        start = len(self.console.log)
        self.console.send("oracle")
        self.console.read_until(rb"NX ORACLE END \d+", _ORACLE_TIMEOUT_S, start)
        text = bytes(self.console.log[start:]).decode("ascii", errors="backslashreplace")
        return parse_oracle(text)

    def sh(self, line: str, timeout_s: float = _SHELL_TIMEOUT_S) -> tuple[int, str]:
        """Run a line of shell in the guest (a scenario with ``busybox-static``); its exit status and its output.

        What is left running in the background must have its output elsewhere: it would get between the lines.

        :raises GuestDiedError: it does not end within ``timeout_s`` seconds.
        """
        self.wait_ready()
        if "\n" in line or len(line) > _MAX_SHELL_LINE:
            raise LabError(f"the guest takes one line of at most {_MAX_SHELL_LINE} characters")
        start = len(self.console.log)
        self.console.send(f"sh {line}")
        match = self.console.read_until(rb"NX SH (\d+)", timeout_s, start)
        printed = bytes(self.console.log[start:]).decode("utf-8", "surrogateescape")
        return int(match[1]), printed[: printed.rindex("\nNX SH ")]

    def run_applet(self, name: str, argument: str = "", timeout_s: float = _SHELL_TIMEOUT_S) -> int:
        """Run an applet of the guest's init (``init/applets.c``) as PID 1's child; its exit status."""
        self.wait_ready()
        start = len(self.console.log)
        self.console.send(f"applet {name} {argument}")
        return int(self.console.read_until(rb"NX APPLET (\d+)", timeout_s, start)[1])

    def run_tool(self, *arguments: str, timeout_s: float = 300.0) -> tuple[int, str]:
        """Run the tool inside the guest (scenario "live"); its exit code and what it printed."""
        return self.end_tool(self.start_tool(*arguments, timeout_s=timeout_s), timeout_s)

    def start_tool(self, *arguments: str, timeout_s: float = 300.0) -> int:
        """Start the tool inside the guest: where in the log of ``line`` that begins what it prints."""
        # The guest opens its end of the line when the scenario is made: what was sent before is lost.
        self.line.read_until(rb"NX LINE", timeout_s)
        start = len(self.line.log)
        self.line.send(" ".join(arguments))
        return start

    def end_tool(self, start: int, timeout_s: float = 300.0) -> tuple[int, str]:
        """Wait until what ``start_tool()`` started has ended; its exit code and what it printed."""
        match = self.line.read_until(rb"NX EXIT (\d+)", timeout_s, start)
        printed = bytes(self.line.log[start:]).decode("utf-8", "surrogateescape")
        return int(match[1]), printed[: printed.rindex("\nNX EXIT")]

    def start_screen(
        self, *arguments: str, columns: int = 120, rows: int = 40, timeout_s: float = 300.0
    ) -> SerialScreen:
        """Start the tool inside the guest with a terminal, which is what this returns."""
        self.start_tool("@tty", f"{columns}x{rows}", *arguments, timeout_s=timeout_s)
        return SerialScreen(self.line, columns, rows)

    def end_screen(self, screen: SerialScreen, timeout_s: float = 300.0) -> tuple[int, bool]:
        """Wait until what ``start_screen()`` started has ended: its exit code, and whether it left the line's
        settings as they were."""
        start = len(self.line.log) - len(screen.received)
        same = self.line.read_until(rb"NX TTY (as before|changed)", timeout_s, start)
        code = self.line.read_until(rb"NX EXIT (\d+)", timeout_s, start)
        return int(code[1]), same[1] == b"as before"

    def stop(self) -> None:
        """Stop the guest's CPUs: from then on nothing in it changes."""
        self.control.command("stop")

    def cont(self) -> None:
        """Let the guest's CPUs run on."""
        self.control.command("cont")

    def dump(self, path: Path, format: str = "elf", *, paging: bool = False) -> None:
        """Write a dump with QEMU's ``dump-guest-memory``; the kdump formats come flattened.

        ``format``: elf, kdump-zlib, kdump-lzo or kdump-snappy. ``paging`` gives an ELF dump virtual addresses.
        The file is complete when it has its name.
        """
        partial = path.with_name(path.name + ".part")
        arguments: dict[str, object] = {"paging": paging, "protocol": f"file:{partial.absolute()}"}
        if format != "elf":
            arguments["format"] = format
        self.control.command("dump-guest-memory", **arguments)
        partial.rename(path)

    def pmemsave(self, path: Path, start: int, size: int) -> None:
        """Write ``size`` bytes of physical memory from address ``start`` on."""
        self.control.command("pmemsave", val=start, size=size, filename=str(path.absolute()))

    def close(self) -> None:
        """End the guest: over QMP if it listens, else by its pid. Its files go too."""
        if self._control is not None:
            with contextlib.suppress(LabError):  # it is gone already, which is what is wanted
                self._control.command("quit")
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(_END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self.console.close()
        self.line.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def boot_until(
    boot: Callable[[], Guest], use: Callable[[Guest], _T], name: str, attempts: int = _BOOT_ATTEMPTS
) -> tuple[Guest, _T]:
    """Boot a guest and use it: the guest, open, and what ``use`` made of it.

    QEMU's emulation is not always faithful: a guest that dies meanwhile is booted again, with a warning for each.

    :raises GuestDiedError: all of them died; none is left open, after this or any other error
    """
    attempt = 1
    while True:
        guest = boot()
        try:
            return guest, use(guest)
        except GuestDiedError as error:
            guest.close()
            if attempt == attempts:
                raise
            warnings.warn(f"{name}: booting again: {error}", stacklevel=2)
            attempt += 1
        except BaseException:
            guest.close()
            raise
