"""Starts QEMU with a kernel, stopped at its first instruction, for ``record --boot``."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from explorer.keeper import Keeper
from explorer.places import find_place, naming
from explorer.targets.errors import TargetError
from explorer.targets.qemu.qmp import QmpConnection

__all__ = ("BootOptions", "StartedGuest", "needed_by_qemu", "ptrace_scope", "reads_only_as_root")

_QEMU = "qemu-system-x86_64"
_KVM = Path("/dev/kvm")
#: Documentation/admin-guide/LSM/Yama.rst: a parent may read its child's memory below this.
_YAMA, _ADMINS_ONLY = Path("/proc/sys/kernel/yama/ptrace_scope"), 2
_START_S = 30.0
_END_S = 10.0
#: Its sockets are there before it greets: on a busy machine it takes a while to get there.
_GREETS_S = 20.0
#: The longest path of a unix socket, without its NUL.
_MAX_SOCKET = 107
_NAMES = ("memory", "control")


@dataclass(frozen=True, slots=True)
class BootOptions:
    """What to boot."""

    kernel: Path
    initrd: Path | None = None
    append: str = ""
    memory: int = 512 << 20
    """Bytes of RAM."""
    console: Path | None = None
    """A file for what the guest prints on its serial line."""
    disk: Path | None = None
    """A raw image, read-only, as the first virtio disk."""
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"


def ptrace_scope() -> int:
    """Who may read the memory of other processes; 0 where the kernel has no opinion."""
    try:
        return int(_YAMA.read_text())
    except (OSError, ValueError):
        return 0


def reads_only_as_root() -> bool:
    """Whether not even a child's memory may be read without CAP_SYS_PTRACE."""
    return ptrace_scope() >= _ADMINS_ONLY


def needed_by_qemu(accelerator: Literal["auto", "kvm", "tcg"]) -> list[Path]:
    """Files that whoever starts it must be able to open."""
    program = shutil.which(_QEMU)
    found = [] if program is None else [Path(program)]
    return [*found, _KVM] if accelerator != "tcg" and _KVM.exists() else found


class StartedGuest:
    """A running QEMU; ``memory`` and ``control`` are its QMP sockets. Use it in a ``with``: it ends with the block.

    Everything it needs lies in a directory of its own, mode 0700, which goes with it. If this process is killed, QEMU
    is too, and the directory is removed.

    :raises TargetError: if QEMU is missing or does not start
    """

    def __init__(self, options: BootOptions) -> None:
        for path, what in ((options.kernel, "kernel"), (options.initrd, "initrd"), (options.disk, "disk")):
            if path is not None and not path.is_file():
                raise TargetError(f"{path}: no such file (the {what} to boot)")
        program = shutil.which(_QEMU)
        if program is None:
            raise TargetError(f"{_QEMU} is not on PATH: install QEMU (Debian: qemu-system-x86)")
        directory = self._directory = _make_directory()
        self._keeper = Keeper(lambda: _remove(directory))
        self.memory, self.control = (str(self._directory / name) for name in _NAMES)
        self.accelerator: Literal["kvm", "tcg"] = "tcg"
        self._why_emulated = "as asked"
        self._process: subprocess.Popen[bytes] | None = None
        self._console: int | None = None
        try:
            self._console = None if options.console is None else _open_console(options.console)
            self._start_somehow(program, options)
        except BaseException:
            self.close()
            raise

    @property
    def note(self) -> str:
        """How it runs, in words."""
        if self.accelerator == "kvm":
            return "QEMU runs the guest with hardware acceleration (KVM)"
        return f"QEMU emulates the guest in software (TCG): {self._why_emulated}"

    @property
    def pid(self) -> int:
        """QEMU's pid; 0 when it has ended."""
        return 0 if self._process is None else self._process.pid

    def _start_somehow(self, program: str, options: BootOptions) -> None:
        """With hardware acceleration if QEMU starts so. Whether it runs the kernel, too, the recording shows."""
        if options.accelerator != "tcg":
            self.accelerator = "kvm"
            try:
                return self._start(_command(program, options, "kvm", self._directory, self._console))
            except TargetError as error:
                if options.accelerator == "kvm":
                    raise
                self._end_process()
                self.accelerator, self._why_emulated = "tcg", f"with KVM, {error}"
        return self._start(_command(program, options, "tcg", self._directory, self._console))

    def _start(self, command: list[str]) -> None:
        for name in _NAMES:
            (self._directory / name).unlink(missing_ok=True)
        with (self._directory / "stderr").open("wb") as stderr:
            # A session of its own: Ctrl-C is for the recorder, which then ends QEMU in good order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
                pass_fds=() if self._console is None else (self._console,),
            )
        deadline = time.monotonic() + _START_S
        while not all((self._directory / name).exists() for name in _NAMES):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise TargetError(f"QEMU does not start: {self._last_words()}")
            time.sleep(0.02)
        try:
            QmpConnection(self.control, timeout=_GREETS_S).close()
        except TargetError as error:
            with contextlib.suppress(subprocess.TimeoutExpired):  # then it has said why, or never will
                self._process.wait(_END_S)
            raise TargetError(f"QEMU does not start: {self._last_words()}") from error

    def _last_words(self) -> str:
        text = (self._directory / "stderr").read_text(errors="replace").strip()
        return text.splitlines()[0] if text else "it says nothing"

    def close(self) -> None:
        """End QEMU, and remove its directory."""
        self._end_process()
        if self._console is not None:
            os.close(self._console)
            self._console = None
        self._keeper.call()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()  # QEMU takes it as a request to shut down in good order
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> StartedGuest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _make_directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="nxrec-"))  # mkdtemp() makes it 0700
    if len(os.fsencode(directory)) + 1 + max(map(len, _NAMES)) <= _MAX_SOCKET:
        return directory
    directory.rmdir()
    return Path(tempfile.mkdtemp(prefix="nxrec-", dir="/tmp"))


def _remove(directory: Path) -> list[str]:
    """QEMU, which the same end may have ended, makes nothing there any more once its name is gone."""
    shutil.rmtree(directory, ignore_errors=True)
    return [f"{directory} is left"] if directory.exists() else []


def _open_console(path: Path) -> int:
    """QEMU is given the file, not its name: it would open whatever another user has put there."""
    try:
        with find_place(path) as place:
            if place.is_special:
                return place.open_special()
            with naming(place) as fd:
                pass  # QEMU writes to it
            return fd
    except OSError as error:
        raise TargetError(f"cannot write {path} (--console): {error.strerror or error}") from error


def _command(
    program: str, options: BootOptions, accelerator: str, directory: Path, console: int | None
) -> list[str]:
    setpriv = shutil.which("setpriv")
    # Newer CPU models than Nehalem are more than QEMU's emulation can give some kernels.
    cpu = ("kvm", "host") if accelerator == "kvm" else ("tcg,thread=single", "Nehalem")
    command = [
        *((setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()),
        *(program, "-nodefaults", "-nographic", "-S", "-M", "q35"),
        *("-accel", cpu[0], "-cpu", cpu[1], "-m", f"{options.memory}B"),
        *("-device", "vmcoreinfo", "-kernel", str(options.kernel)),
        *(() if console is None else ("-add-fd", f"fd={console},set=1")),
        *("-serial", "null" if console is None else "file:/dev/fdset/1"),
    ]
    for name in _NAMES:
        command += ["-qmp", f"unix:{_quoted(directory / name)},server=on,wait=off"]
    if options.initrd is not None:
        command += ["-initrd", str(options.initrd)]
    if options.append:
        command += ["-append", options.append]
    if options.disk is not None:
        command += ["-drive", f"file={_quoted(options.disk)},if=virtio,format=raw,readonly=on"]
    return command


def _quoted(path: Path) -> str:
    """A path within a QEMU option: a comma is written twice."""
    return str(path).replace(",", ",,")
