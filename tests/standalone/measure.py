"""What the one file costs and needs: its size, how fast it starts, and of a machine the kernel alone."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.standalone.archive import unpack_tree

__all__ = ("Needs", "find_needs", "report", "unpack_file")

_GLIBC = re.compile(r"\bGLIBC_(\d+)\.(\d+)")
_ABI = re.compile(r"OS: Linux, ABI: (\d+)\.(\d+)\.(\d+)")
_STARTS = 5
_COMMANDS = (("--version",), ("tasks", "sample"))


@dataclass(frozen=True)
class Needs:
    """What all of the ELF files ask for: the newest version of a symbol, against the newest that the C library inside
    has; what the machine must have besides, by its file; and the oldest kernel that the loader and the C library are
    for."""

    asked: tuple[int, int]
    inside: tuple[int, int]
    outside: tuple[str, ...]
    kernel: tuple[int, int, int]

    @property
    def is_satisfied(self) -> bool:
        """Whether it runs on a machine without any library."""
        return self.asked <= self.inside and not self.outside


def find_needs(file: Path, root: Path) -> Needs:
    """:param root: where it is unpacked"""
    asked, kernels, needed = {(0, 0)}, {(0, 0, 0)}, set()
    binaries = [path for path in root.rglob("*") if path.is_file() and path.open("rb").read(4) == b"\x7fELF"]
    for binary in (file, *binaries):
        asked |= {
            (int(major), int(minor))
            for major, minor in _GLIBC.findall(_said("readelf", "-V", binary, "Needs"))
        }
        for found in _ABI.findall(_said("readelf", "-n", binary)):
            kernels.add((int(found[0]), int(found[1]), int(found[2])))
        needed |= set(re.findall(r"\(NEEDED\).*\[(.+)\]", _said("readelf", "-d", binary)))
    own = {path.name for path in binaries} | {"ld-linux-x86-64.so.2"}  # which has the tool's name
    provided = _said("readelf", "-V", root / "lib" / "libc.so.6")
    inside = max((int(major), int(minor)) for major, minor in _GLIBC.findall(provided))
    interpreted = [file.name] if "program interpreter" in _said("readelf", "-l", file) else []
    return Needs(max(asked), inside, tuple(sorted({*needed - own, *interpreted})), max(kernels))


def _said(tool: str, option: str, file: Path, section: str = "") -> str:
    """What binutils say of a file, or only of what it needs of others (``.gnu.version_r``)."""
    printed = subprocess.run([tool, "-W", option, file], capture_output=True, text=True, check=True).stdout
    return printed.partition(f"Version {section.lower()} section")[2] if section else printed


def unpack_file(file: Path, root: Path) -> None:
    """What is in the one file, to a directory that exists."""
    with tempfile.TemporaryDirectory() as directory:
        packed = Path(directory) / "archive"
        take: list[str | Path] = [
            "objcopy",
            "--dump-section",
            f".archive={packed}",
            file,
            Path(directory) / "rest",
        ]
        subprocess.run(take, check=True)
        unpack_tree(packed.read_bytes(), root)


def report(file: Path) -> list[str]:
    """In lines, for a person."""
    content = file.read_bytes()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        unpack_file(file, root)
        needs = find_needs(file, root)
        files = [path.stat() for path in root.rglob("*") if path.is_file()]
    asked, inside = (".".join(map(str, version)) for version in (needs.asked, needs.inside))
    kernel = ".".join(map(str, needs.kernel))
    machine = ", ".join(needs.outside) or "no library"
    return [
        f"{file}: {len(content) / 1e6:.1f} MB, SHA-256 {hashlib.sha256(content).hexdigest()}",
        f"unpacks {len(files)} files, {sum(each.st_size for each in files) / 1e6:.0f} MB, zeros among them left out",
        f"asks for symbols up to GLIBC_{asked}, and has glibc {inside} inside: of the machine it needs {machine}, "
        f"and Linux {kernel} or newer on x86_64",
        *(f"{' '.join(words)}: {_best_start(file, words):.2f} s" for words in _COMMANDS),
    ]


def _best_start(file: Path, words: tuple[str, ...]) -> float:
    took = []
    for _ in range(_STARTS):
        begun = time.perf_counter()
        subprocess.run([file.absolute(), *words], stdout=subprocess.DEVNULL, check=True)
        took.append(time.perf_counter() - begun)
    return min(took)
