"""From the word on the command line to what it names; a file is judged by its content, not by its name."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from explorer.targets.dumps import (
    COMPRESSED,
    DUMPS,
    RANGED,
    Format,
    check_elf_header,
    dump_in,
    file_errors,
    foreign_format,
    open_file,
    peek,
    readable_path,
    sniff,
)
from explorer.targets.errors import TargetError
from explorer.targets.spec import TargetSpec

__all__ = ("detect_target", "sample_path")

_TCP = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^/.:\[\]][^/:\[\]]*|):[0-9]{1,5}")


def detect_target(text: str) -> TargetSpec:
    """What ``text`` names: ``live``, ``sample``, ``qemu:SOCKET``, ``qemu:HOST:PORT``, ``physmem:FILE``, a
    file, a frame of a recording (``FILE@3.4s``, ``FILE@#12``).

    Raises :class:`TargetError` if it names nothing that can be opened.
    """
    with file_errors(text):
        return _detect(text)


def _detect(text: str) -> TargetSpec:
    if text in ("live", "proc"):
        return TargetSpec("live" if text == "live" else "proc", text)
    if text == "sample":
        return TargetSpec("sample", text, path=sample_path())
    scheme, _, rest = text.partition(":")
    if scheme == "qemu" and rest:
        return TargetSpec("qemu", text, address=_qemu_address(rest))
    if scheme == "physmem" and rest:
        path = readable_path(rest, raw=True)
        with open_file(path) as file:
            if not file.read(1):
                raise TargetError(f"{rest}: the file is empty")
        return TargetSpec("physmem", text, path=path)
    if scheme in ("qemu", "physmem") and not rest and ":" in text:
        raise TargetError(f"{scheme}: names nothing: say qemu:SOCKET, qemu:HOST:PORT or physmem:FILE")
    if not text or "\0" in text:
        raise TargetError(
            "an empty target; say live, proc, sample, qemu:SOCKET, physmem:FILE, or name a file"
        )
    return _detect_file(text)


def sample_path() -> Path:
    """The vmcore that comes with the package, for a first look without root or a crash."""
    samples = Path(__file__).parents[1] / "samples"
    found = sorted(samples.glob("*.elf.zst"))
    if not found:
        raise TargetError(
            "this installation has no sample dump (explorer/samples is empty): install it again"
        )
    return found[-1]


def _qemu_address(rest: str) -> str:
    """A socket path, or ``host:port`` where it cannot be a path that exists."""
    if _TCP.fullmatch(rest) and not Path(rest).exists():
        if not 1 <= int(rest.rpartition(":")[2]) <= 65535:
            raise TargetError(f"qemu:{rest}: a port is a number from 1 to 65535")
        return rest
    return rest


def _detect_file(text: str) -> TargetSpec:
    name, at, moment = text.rpartition("@")
    if at and name and not Path(text).exists() and _is_recording(name):
        return TargetSpec("recording", text, path=readable_path(name), moment=moment)
    path = readable_path(text)
    try:
        mode = path.stat().st_mode
    except OSError:
        mode = 0  # open_file() says what is wrong with it
    if stat.S_ISSOCK(mode):
        return TargetSpec("qemu", text, address=text)
    if stat.S_ISDIR(mode):
        return _detect_file(str(dump_in(path, text)))
    with open_file(path) as file:
        outer, inner, head = peek(file, text)
    if inner is Format.SNAPSHOT:
        return TargetSpec("snapshot", text, path=path)
    if outer is Format.RECORDING:
        return TargetSpec("recording", text, path=path)
    if inner is Format.TRACE:
        return TargetSpec("trace", text, path=path)
    if inner is Format.ELF:
        check_elf_header(head, text)
    if inner in DUMPS:
        return TargetSpec("vmcore", text, path=path)
    raise TargetError(f"{text}: {_why_not(outer, inner, head)}")


def _is_recording(name: str) -> bool:
    """Whether ``name`` can be opened and begins as a recording does: then ``@`` and a moment may follow its name."""
    try:
        with open_file(readable_path(name)) as file:
            return sniff(file.read(16)) is Format.RECORDING
    except TargetError:
        return False  # what is wrong is said of the whole text, which is what the user typed


def _why_not(outer: Format, inner: Format, head: bytes) -> str:
    inside = f"inside its {outer.value} compression, " if outer is not inner else ""
    if inner is Format.EMPTY:
        return f"{inside}the file is empty"
    if inner in COMPRESSED:
        return f"compressed twice ({outer.value}, then {inner.value}): decompress it once by hand"
    what = foreign_format(head)
    if what is not None:
        return inside + what
    if head.lstrip().startswith(b"{"):
        return f"{inside}JSON, but not a snapshot (no schema_version)"
    return (
        f"{inside}neither {_dumps()} nor a snapshot; "
        "if it is raw physical memory (VMware's .vmem is), say physmem:FILE"
    )


def _dumps() -> str:
    """``an ELF, kdump or LiME dump``."""
    *names, last = ["ELF", "kdump", *(form.value for form in Format if form in RANGED)]
    return f"an {', '.join(names)} or {last} dump"
