"""Plays, in front of QEMU, the machines that this one is not: NX_KVM says what becomes of a guest that KVM is to run.

``absent``: QEMU does not start. ``works``: the guest runs (in truth it is emulated). ``gives-up``: it stops in
Without KVM QEMU is QEMU.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_SETUP_SECTS = 0x1F1
#: The 32-bit entry point follows the setup sectors (Documentation/arch/x86/boot.rst): ``ud2``, with no IDT; ``jmp .``.
_CODE = {"resets": b"\x0f\x0b", "stands": b"\xeb\xfe"}
_LIVES_S = 1.0


def install(directory: Path) -> str:
    """Put it into a directory, under QEMU's name. Returns a PATH that finds it first."""
    directory.mkdir()
    script = directory / "qemu-system-x86_64"
    script.write_text(f"#!{sys.executable}\n" + Path(__file__).read_text())
    script.chmod(0o755)
    return f"{directory}:{os.environ['PATH']}"


def _real() -> str:
    own = Path(__file__).parent
    places = [Path(place) for place in os.environ["PATH"].split(":")]
    return next(
        str(place / "qemu-system-x86_64")
        for place in places
        if place != own and (place / "qemu-system-x86_64").exists()
    )


def _damaged(kernel: Path, code: bytes) -> Path:
    data = bytearray(kernel.read_bytes())
    start = ((data[_SETUP_SECTS] or 4) + 1) * 512
    data[start : start + len(code)] = code
    # its directory: of the first QMP socket
    path = Path(sys.argv[sys.argv.index("-qmp") + 1].removeprefix("unix:").split(",")[0]).with_name("damaged")
    path.write_bytes(data)
    return path


def _give_up(command: list[str]) -> None:
    """Stand between the recorder and QEMU: once the guest has run for a while, it is said to be lost."""
    (at,) = [
        number for number, word in enumerate(command) if word.startswith("unix:") and "/control," in word
    ]
    path = Path(command[at].removeprefix("unix:").split(",")[0])
    command[at] = command[at].replace("/control,", "/control.real,")
    qemu = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command])
    real = path.with_name("control.real")
    while not real.exists():
        time.sleep(0.02)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        begin = time.monotonic()
        while qemu.poll() is None:
            client, _ = server.accept()
            with client, socket.socket(socket.AF_UNIX) as behind:
                behind.connect(str(real))
                threading.Thread(target=_copy, args=(behind, client), daemon=True).start()
                _relay(client, behind, begin)
                behind.shutdown(socket.SHUT_RDWR)  # else the thread keeps it open, and QEMU serves one client


def _copy(source: socket.socket, to: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            to.sendall(data)
    except OSError:  # the other side has hung up
        return


def _relay(client: socket.socket, behind: socket.socket, begin: float) -> None:
    with client.makefile("rb") as lines:
        for line in lines:
            asked = json.loads(line)
            answer = _answer(asked["execute"]) if time.monotonic() - begin > _LIVES_S else None
            if answer is None:
                behind.sendall(line)
            else:
                client.sendall(json.dumps(answer | {"id": asked["id"]}).encode() + b"\r\n")


def _answer(command: str) -> dict[str, object] | None:
    if command == "query-status":
        return {"return": {"running": False, "status": "internal-error"}}
    if command == "cont":
        words = "Resetting the Virtual Machine is required"
        return {"error": {"class": "GenericError", "desc": words}}
    return None


def main() -> None:
    """As QEMU."""
    command, part = [_real(), *sys.argv[1:]], os.environ["NX_KVM"]
    if "kvm" not in command:
        os.execv(command[0], command)
    if part == "absent":
        sys.exit("Could not access KVM kernel module: No such file or directory")
    command[command.index("kvm")] = "tcg,thread=single"
    command[command.index("host")] = "Nehalem"
    if part in _CODE:
        at = command.index("-kernel") + 1
        command[at] = str(_damaged(Path(command[at]), _CODE[part]))
    if part == "gives-up":
        _give_up(command)
    elif part == "dies":
        qemu = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *command])
        time.sleep(_LIVES_S)
        qemu.kill()
        qemu.wait()
        sys.exit("KVM: entry failed")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
