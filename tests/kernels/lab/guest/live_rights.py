"""Runs in the guest, as root: which rights the tool has while it parses its live kernel, started by a user with sudo.

``live_rights.py [SECTION ...]``, all without one. Prints ``SAID`` and, as JSON, for each: the rights of the reader when
it begins to parse (``parsing``); of the screen and of what keeps root's rights for it, and what is left when it has
ended (``screen``); what a tracer that crashes leaves (``crash``); whether kallsyms are the same by every road
(``tables``); and what an output came to in whose way another user has put something (``attacks``).
"""

from __future__ import annotations

import ctypes
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_USER, _NOBODY = 1000, 65534
_PATIENCE_S = 240.0
_SHOWN = ("Uid", "CapInh", "CapPrm", "CapEff", "NoNewPrivs", "Seccomp")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "TERM": "xterm-256color"}
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_SUDO = ("/usr/bin/sudo", "nullfs-explorer")
#: Imported by Python as it starts: what each process may do when it first calls one of these. One that was forked off
#: goes on with what it was forked from has seen.
_WATCHES = """
import json, os, sys, threading

NAMES = {"open_running", "load_symbols", "_read_btf", "load_dwarf", "nameidata_offsets", "understand", "_module_ranges",
         "capture_kernel", "_capture"}
seen, of = {}, 0

def watch(frame, event, argument):
    global seen, of
    name = frame.f_code.co_name
    if event == "call" and name in NAMES:
        if of != os.getpid():
            seen, of = {}, os.getpid()
        if name in seen:
            return
        with open("/proc/thread-self/status") as file:
            seen[name] = dict(line.rstrip("\\n").split(":\\t", 1) for line in file if ":\\t" in line)
        with open(f"{os.environ['STATE']}/{of}", "w") as file:
            json.dump(seen, file)

if "STATE" in os.environ:
    sys.setprofile(watch)
    threading.setprofile(watch)
"""
#: The same, and the third call of one ends the process by a real signal from C.
_CRASHES = """
import ctypes, os, sys
calls = 0

def watch(frame, event, argument):
    global calls
    if event == "call" and frame.f_code.co_name == os.environ["CRASH_AT"]:
        calls += 1
        if calls == 3:
            ctypes.string_at(0)

if "CRASH_AT" in os.environ:
    sys.setprofile(watch)
"""


def become(uid: int) -> None:
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def mount(kind: bytes, where: str, data: bytes = b"") -> None:
    """Where it is not, yet."""
    if not os.path.ismount(where):
        assert ctypes.CDLL(None).mount(kind, where.encode(), kind, 0, data) == 0, where


def status_of(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    values = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: values[name].strip() for name in _SHOWN}


def tool_processes() -> list[int]:
    """Those of the tool, and of sudo."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(path.name) != os.getpid() and (
            b"explorer" in words or any(word.endswith(b"/nullfs-explorer") for word in words)
        ):
            found.append(int(path.name))
    return sorted(found)


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# -- parsing -------------------------------------------------------------------------------------------------


def parsing(name: str, *words: str) -> dict[str, Any]:
    """What the reader may do at each step; as sudo leaves the environment, which the real one would keep from us."""
    where = Path("/tmp/watch")
    where.mkdir(exist_ok=True)
    where.chmod(0o755)
    (where / "sitecustomize.py").write_text(_WATCHES)
    home = Path("/tmp/users")
    home.mkdir(exist_ok=True)
    os.chown(home, _USER, _USER)
    state = home / f"{name}.state"
    state.mkdir()
    more = {"SUDO_UID": str(_USER), "SUDO_GID": str(_USER), "PYTHONPATH": str(where), "STATE": str(state)}
    os.chown(state, _USER, _USER)
    ran = subprocess.run(
        [sys.executable, "-m", "explorer", *words],
        cwd="/",
        env=_ENVIRONMENT | more,
        capture_output=True,
        text=True,
        check=False,
    )
    seen = [json.loads(each.read_text()) for each in state.iterdir()]
    return {
        "code": ran.returncode,
        "said": ran.stderr[-2000:],
        "seen": [
            {step: {name: one[name].strip() for name in _SHOWN} for step, one in each.items()}
            for each in seen
        ],
    }


def crash() -> dict[str, Any]:
    """A tracer whose reader crashes: what it says, what it has written, what of it is left."""
    where, out = Path("/tmp/crash"), Path("/tmp/users/c.jsonl")
    where.mkdir()
    (where / "sitecustomize.py").write_text(_CRASHES)
    more = {"SUDO_UID": str(_USER), "SUDO_GID": str(_USER), "PYTHONPATH": str(where), "CRASH_AT": "poll"}
    ran = subprocess.run(
        [sys.executable, "-m", "explorer", "trace", "live", "--for", "60s", "-o", str(out)],
        cwd="/",
        env=_ENVIRONMENT | more,
        capture_output=True,
        text=True,
        check=False,
    )
    deadline = time.monotonic() + 60.0
    while (left := [*traces_left(), *map(str, tool_processes())]) and time.monotonic() < deadline:
        time.sleep(0.1)
    written = out.read_text().splitlines()
    return {
        "code": ran.returncode,
        "said": ran.stderr.splitlines(),
        "written": [sorted(json.loads(line)) for line in written[:1]],
        "owner": out.stat().st_uid,
        "left": left,
    }


def traces_left() -> list[str]:
    """Instances and events of ours in the kernel."""
    tracefs = next(path for path in map(Path, _TRACEFS) if (path / "instances").is_dir())
    events = (tracefs / "dynamic_events").read_text().splitlines()
    instances = [path.name for path in (tracefs / "instances").iterdir()]
    return [each for each in [*instances, *events] if "nullfs_explorer" in each]


def tables() -> dict[str, Any]:
    """The symbols as the kernel's memory, its text and drgn have them, by name and address; after rights are gone."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

        from explorer.targets import hold_running
        from explorer.targets.running import held_kallsyms, open_running
        from explorer.targets.spec import TargetSpec
        from explorer.targets.symbols.kallsyms import SymbolTable, load_symbols, vmcoreinfo, vmcoreinfo_symbol
        from explorer.targets.symbols.system_map import read_system_map

        hold_running()
        plain = open_running(TargetSpec("live", "live"), None).prog
        drgns = load_vmlinux_kallsyms(plain)(plain, None, None, False)
        become(_USER)
        opened = open_running(TargetSpec("live", "live"), None)
        info = vmcoreinfo(opened.prog)
        base = vmcoreinfo_symbol(info, "_stext")
        assert base is not None
        read = {
            "memory": load_symbols(opened.prog),
            "text": read_system_map(held_kallsyms() or b"", "held", info),
            "drgn": SymbolTable.build(base, drgns),
        }
        sets = {name: {(one.name, one.address) for one in table.all()} for name, table in read.items()}
        said = {name: len(each) for name, each in sets.items()}
        said |= {f"{name} differs": len(each ^ sets["drgn"]) for name, each in sets.items()}
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(os.read(reading, 4096) or b"{}")
    return found


# -- the screen ----------------------------------------------------------------------------------------------


class Screen:
    """The app, started with sudo by the user, on a terminal."""

    def __init__(self, *words: str) -> None:
        self.received = b""
        self._at = 0
        self.pid, self._fd = pty.fork()
        if not self.pid:
            become(_USER)
            os.execve(_SUDO[0], ["sudo", _SUDO[1], *words], _ENVIRONMENT | {"COLUMNS": "", "LINES": ""})

    def wait_for(self, text: bytes) -> bool:
        deadline = time.monotonic() + _PATIENCE_S
        while text not in self.received[self._at :]:
            if time.monotonic() > deadline or not self.read():
                return False
        self._at = len(self.received)
        return True

    def read(self) -> bool:
        if not select.select([self._fd], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:
            return False
        self.received += data
        return bool(data)

    def send(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def end(self) -> int:
        deadline = time.monotonic() + _PATIENCE_S
        while self.read() and time.monotonic() < deadline:
            continue
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def screen() -> dict[str, Any]:
    Path("/dev/pts").mkdir(exist_ok=True)
    mount(b"devpts", "/dev/pts", b"ptmxmode=0666,mode=0620")
    app = Screen("live", "--no-cache")
    said: dict[str, Any] = {"shown": app.wait_for(b"ISOLATED")}
    [shown] = [pid for pid in tool_processes() if status_of(pid)["Uid"].split()[0] == str(_USER)]
    [starter] = children(shown)
    said["screen"], said["starter"] = status_of(shown), status_of(starter)
    held = sorted(str(fd.readlink()).partition(":")[0] for fd in Path(f"/proc/{starter}/fd").iterdir())
    said["held"] = held
    app.send(b"r")
    said["again"] = app.wait_for(b"ISOLATED") or app.wait_for(b" s ago")
    app.send(b"W")
    deadline = time.monotonic() + _PATIENCE_S
    tracers: list[int] = []
    while not tracers and time.monotonic() < deadline:
        app.read()
        tracers = [
            pid for pid in tool_processes() if b"trace-lines" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
    said["traced"] = bool(tracers)
    deadline = time.monotonic() + _PATIENCE_S
    while not traces_left() and time.monotonic() < deadline:
        app.read()
    said["instance"] = traces_left()
    app.send(b"q")
    said["code"] = app.end()
    deadline = time.monotonic() + 60.0
    while (tool_processes() or traces_left()) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in tool_processes()]
    said["left"] = [*left, *traces_left()]
    said["text"] = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b" ", app.received[-4000:]).decode("utf-8", "replace")
    return said


# -- another user's things ---------------------------------------------------------------------------------------


def as_nobody(do: Callable[[], object]) -> None:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            become(_NOBODY)
            do()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def bound(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def attacks() -> dict[str, Any]:
    """Nobody's things where outputs are to go: in a directory where all may write, with the kernel's own guards off."""
    for name in ("fifos", "hardlinks", "regular", "symlinks"):
        Path(f"/proc/sys/fs/protected_{name}").write_text("0")
    shared, victims = Path("/tmp/shared"), Path("/tmp/victims")
    for each in (shared, victims):
        each.mkdir()
    shared.chmod(0o777)
    os.chown(victims, _USER, _USER)
    (victims / "kept").write_text("mine")
    os.chown(victims / "kept", _USER, _USER)
    (victims / "kept").chmod(0o600)
    placed: dict[str, tuple[Callable[[Path], object], str]] = {
        "pipe": (os.mkfifo, ""),
        "socket": (bound, ""),
        "link to a file": (lambda path: path.symlink_to(victims / "kept"), ""),
        "link to nothing": (lambda path: path.symlink_to(victims / "new"), ""),
        "link that is a directory": (lambda path: path.symlink_to(victims), "/out"),
        "link in a link": (lambda path: path.symlink_to("../shared/." + "/../victims"), "/out"),
    }
    commands = {
        "snapshot": ("snapshot", "sample", "-o", "{}"),
        "audit": ("audit", "sample", "--write-baseline", "{}.json"),
        "slice": ("slice", "sample", "-o", "{}"),
        "record": ("record", "live", "--for", "1s", "-o", "{}"),
        "trace": ("trace", "live", "--for", "1s", "-o", "{}"),
        "frame": ("frame", "/tmp/users/a.nxrec", "-o", "{}"),
        "trace FILE": ("trace", "/tmp/users/a.jsonl", "-o", "{}"),
    }
    said: dict[str, Any] = {}
    for command, words in commands.items():
        for what, (place, below) in placed.items():
            target = shared / "there"
            path = Path(words[-1].format(target)) if not below else target
            as_nobody(lambda place=place, path=path: place(path))
            output = words[-1].format(f"{target}{below}")
            said[f"{command}: {what}"] = attacked([*words[:-1], output], path)
            said[f"{command}: {what}"]["victims"] = sorted(
                (each.name, each.read_text()) for each in victims.iterdir()
            )
            as_nobody(path.unlink)
    shutil.rmtree(shared)
    return said


def attacked(words: list[str], path: Path) -> dict[str, Any]:
    pid = os.fork()
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK) if pid and path.is_fifo() else -1
    if not pid:
        become(_USER)
        log = os.open("/tmp/users/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for each in (1, 2):
            os.dup2(log, each)
        os.execve(_SUDO[0], ["sudo", _SUDO[1], *words], _ENVIRONMENT)
    deadline = time.monotonic() + _PATIENCE_S
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.05)
    if ended == (0, 0):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return {"code": "it hangs", "said": [], "got": ""}
    got = b""
    if reading >= 0:
        got = os.read(reading, 4096)
        os.close(reading)
    lines = Path("/tmp/users/log").read_text(errors="replace").splitlines()
    return {"code": os.waitstatus_to_exitcode(ended[1]), "said": lines, "got": got.decode("latin-1")}


def rights_while_parsing() -> dict[str, Any]:
    """What it writes is there for what follows, too."""
    saves = ("--no-cache", "-o")
    return {
        "snapshot": parsing("snapshot", "snapshot", "live", *saves, "/tmp/users/a.json"),
        "record": parsing("record", "record", "live", "--for", "1s", *saves, "/tmp/users/a.nxrec"),
        "trace": parsing("trace", "trace", "live", "--for", "1s", "-o", "/tmp/users/a.jsonl"),
        "record --trace": parsing(
            "traced", "record", "live", "--trace", "--for", "1s", *saves, "/tmp/users/b.nxrec"
        ),
        # It has no debug info, and takes no longer than to find that out.
        "--types dwarf": parsing("dwarf", "tasks", "live", "-s", sys.executable, "--force"),
    }


def main() -> int:
    mount(b"tracefs", "/sys/kernel/tracing")
    sections = {
        "parsing": rights_while_parsing,
        "crash": crash,
        "tables": tables,
        "screen": screen,
        "attacks": attacks,
    }
    failed = 0
    for name in sys.argv[1:] or sections:
        try:
            print("SAID " + json.dumps({name: sections[name]()}), flush=True)
        except Exception:  # noqa: BLE001  # told, and the rest goes on
            traceback.print_exc()
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
