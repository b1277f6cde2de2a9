"""Which case is run: what a seed and a number make of a mutator, and the command that is given it."""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import explorer
import explorer.targets.kernel as kernel_module
from explorer.codec.snapshots import SnapshotError
from explorer.model import Snapshot
from explorer.targets.kernel import OpenKernel, OpenOptions
from explorer.targets.spec import Progress, TargetSpec

from .baselines import AUDITED, BASELINE_MUTATORS, BASELINE_SUFFIX
from .bases import SMALLEST, Bases, WarmKernel
from .crafted import CRAFTED_MUTATORS
from .crafted_files import CRAFTED_FILE_MUTATORS
from .ended import Ended, Prepare
from .foreign import FOREIGN_MUTATORS
from .formats import FILE_MUTATORS as FORMAT_MUTATORS
from .formats import FileCase
from .memory import MEMORY_MUTATORS as DAMAGE_MUTATORS
from .memory import apply_patches
from .recordings import RECORDING_MUTATORS
from .streams import STREAM_MUTATORS
from .supplied import SUPPLIED_MUTATORS
from .traces import PAGE_MUTATOR, TRACE_COMMANDS, TRACE_MUTATORS, TRACE_SUFFIX, damaged_pages, feed_pages
from .types import TYPE_MUTATORS

__all__ = ("MUTATORS", "Case", "Result", "Worker", "cases_of")

_END_TO_END = 0.02
_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("snapshot", "--format", "json"),
    ("snapshot", "--format", "json"),
    ("snapshot", "--format", "jsonl", "--progress-lines"),
    ("snapshot", "--format", "csv"),
    ("tasks", "--all"),
    ("tasks",),
    ("tasks", "--width", "60"),
    ("audit",),
    ("audit", "--format", "json"),
    ("audit", "--format", "sarif"),
    ("plugins",),
)
_RECORDING_COMMANDS = (("timeline",), ("timeline", "--json"), ("frame",))
#: In place of the command in every eighth case. Drawn from a generator of its own: other cases stay what they were.
#: TWICE is the damaged target, OUTPUT a file.
_RARE_SHARE = 0.125
_RARE_COMMANDS: tuple[tuple[str, ...], ...] = (
    ("diff", "TWICE", "sample"),
    ("diff", "sample", "TWICE"),
    ("diff", "TWICE", "TWICE", "--format", "json"),
    ("snapshot", "--redact", "TWICE"),
    ("snapshot", "--redact", "--format", "csv", "TWICE"),
    ("audit", "TWICE", "--format", "markdown"),
    ("slice", "TWICE", "-o", "OUTPUT"),
    ("slice", "TWICE", "-o", "OUTPUT", "--redact"),
)
_MEMORY_BASES = ("isolated", "rfc-v1", "nullfs-rootfs", "legacy-6.12", "legacy-6.1")
#: Of these, every second case is compared with the whole kernel: values may be missing, and none may differ.
_DIFFERENTIAL = ("holes", "page-missing", "short-dumps")
_JSON = ["snapshot", "--format", "json"]
#: The screen; what runs by being imported; and what brings libraries that take much of the memory a case may have.
_NOT_IMPORTED = (
    "explorer.tui",
    "explorer.__main__",
    "explorer.fleet",
    "explorer.library",
    "explorer.output.fleet",
)
MEMORY_MUTATORS = DAMAGE_MUTATORS | CRAFTED_MUTATORS
FILE_MUTATORS = (
    FORMAT_MUTATORS
    | TYPE_MUTATORS
    | RECORDING_MUTATORS
    | CRAFTED_FILE_MUTATORS
    | FOREIGN_MUTATORS
    | BASELINE_MUTATORS
    | TRACE_MUTATORS
)
MUTATORS: tuple[str, ...] = (
    *MEMORY_MUTATORS,
    *FILE_MUTATORS,
    *STREAM_MUTATORS,
    PAGE_MUTATOR,
    *SUPPLIED_MUTATORS,
)
#: No command opens these by itself.
_FED = (*STREAM_MUTATORS, PAGE_MUTATOR, *SUPPLIED_MUTATORS)


class Case(NamedTuple):
    """With a seed: what is run. A case stays what it is when mutators are added."""

    mutator: str
    number: int


def cases_of(count: int, only: Collection[str] = ()) -> list[Case]:
    """So many cases, of each mutator in turn."""
    wanted = [name for name in MUTATORS if not only or name in only]
    return [Case(wanted[index % len(wanted)], index // len(wanted)) for index in range(count)]


@dataclass(slots=True)
class Result:
    """How one case ended."""

    mutator: str
    number: int
    outcome: str
    seconds: float
    """Of processor time."""
    wall: float
    rss: int
    """Bytes."""
    failure: str | None = None
    command: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Worker:
    """Runs cases, one after the other; what it has made for one it keeps for the next."""

    def __init__(self, seed: int) -> None:
        _import_all()
        self._seed = seed
        self._bases = Bases()

    def close(self) -> None:
        self._bases.close()

    def run(self, case: Case, debug: bool = False) -> Result:
        """One case: the same case and seed do the same."""
        mutator = case.mutator
        rng = random.Random(f"{self._seed}:{mutator}:{case.number}")
        if mutator in MEMORY_MUTATORS:
            command, prepare = self._memory_case(mutator, case.number, rng)
        elif mutator in FILE_MUTATORS:
            command, prepare = self._file_case(mutator, case.number, rng)
        elif mutator == PAGE_MUTATOR:
            pages = damaged_pages(rng)
            command, prepare = [mutator], lambda: feed_pages(pages, self._bases.path)
        elif mutator in SUPPLIED_MUTATORS:
            supplied, folder = SUPPLIED_MUTATORS[mutator], self._bases.path
            content = supplied.make(rng)
            command, prepare = [mutator], lambda: supplied.feed(content, folder)
        else:
            data = STREAM_MUTATORS[mutator](self._bases, rng)
            command, prepare = [mutator], lambda: _feed(data)
        end_to_end = mutator in FILE_MUTATORS and rng.random() < _END_TO_END
        if debug and mutator not in _FED:
            command.append("--debug")
        ended = Ended(self._bases.path, command, prepare, end_to_end)
        failure, outcome = ended.judge()
        if failure is None and mutator in _DIFFERENTIAL and command[:3] == _JSON:
            failure = ended.compare([self._bases.warm(name).snapshot for name in _MEMORY_BASES])
        return Result(
            mutator, case.number, outcome, ended.seconds, ended.wall, ended.rss, failure, " ".join(command)
        )

    def _memory_case(self, mutator: str, number: int, rng: random.Random) -> tuple[list[str], Prepare]:
        warm = self._bases.warm(rng.choice(_MEMORY_BASES))
        patches = MEMORY_MUTATORS[mutator](warm, rng)
        command = self._rarely(mutator, number, "sample") or [*rng.choice(_COMMANDS), "sample"]
        if mutator in _DIFFERENTIAL and number % 2:
            command = [*_JSON, "sample"]

        def prepare() -> list[OpenKernel]:
            apply_patches(warm.prog, patches, warm.direct_map)
            return _open_instead(warm)

        return command, prepare

    def _file_case(self, mutator: str, number: int, rng: random.Random) -> tuple[list[str], Prepare]:
        case = FILE_MUTATORS[mutator](self._bases, rng)
        path = self._write(case)
        if case.suffix == ".ko":
            return ["ko", str(path), *case.options], _nothing
        if case.suffix == BASELINE_SUFFIX:
            return self._audit_with(path, rng), _nothing
        if case.suffix == TRACE_SUFFIX:
            return [*rng.choice(TRACE_COMMANDS), str(path)], _nothing
        command = [*rng.choice(_COMMANDS), str(path)]
        if mutator in _DIFFERENTIAL and number % 2:
            return [*_JSON, str(path)], _nothing
        if case.suffix == ".nxrec" and rng.random() < 0.7:
            command = [*rng.choice(_RECORDING_COMMANDS), str(path)]
            command += [f"#{rng.randrange(14)}"] if command[0] == "frame" else []
        command = (self._rarely(mutator, number, str(path)) or command) + list(case.options)
        if case.vmcoreinfo is not None:
            info = self._bases.path / "vmcoreinfo"
            info.write_bytes(case.vmcoreinfo)
            command += ["--vmcoreinfo", str(info)]
        return command, _nothing

    def _audit_with(self, baseline: Path, rng: random.Random) -> list[str]:
        """``audit`` of a sound snapshot; what is written over the damaged file is a baseline again."""
        command = ["audit", str(self._bases.snapshot_path(AUDITED)), "--baseline", str(baseline)]
        written = ("--write-baseline", str(self._bases.path / "written.json"))
        options = ((), ("--all",), ("--format", "json"), ("--format", "sarif"), written)
        return [*command, *rng.choice(options)]

    def _rarely(self, mutator: str, number: int, target: str) -> list[str]:
        """One of the rare commands on a target, or mostly none."""
        rng = random.Random(f"{self._seed}:{mutator}:{number}:rarely")
        if rng.random() > _RARE_SHARE:
            return []
        words = {"TWICE": target, "OUTPUT": str(self._bases.path / "output.elf")}
        return [words.get(word, word) for word in rng.choice(_RARE_COMMANDS)]

    def _write(self, case: FileCase) -> Path:
        cache, content = self._bases.cache_file(SMALLEST)
        cache.write_bytes(case.content if case.cache_of is not None else content)
        if case.cache_of is not None:
            return self._bases.elf_path(case.cache_of)
        if case.beside:
            return self._write_folder(case.beside)
        path = self._bases.path / f"case{case.suffix}"
        path.write_bytes(case.content)
        return path

    def _write_folder(self, files: tuple[tuple[str, bytes], ...]) -> Path:
        folder = self._bases.path / "case"
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, content in files:
            (folder / name).write_bytes(content)
        return folder


def _nothing() -> list[OpenKernel]:
    """A command that opens the file that it is given."""
    return []


def _import_all() -> None:
    """What a command imports is there before the fork: else each case imports it anew."""
    for module in pkgutil.walk_packages(explorer.__path__, "explorer."):
        if not module.name.startswith(_NOT_IMPORTED):
            importlib.import_module(module.name)


def _open_instead(warm: WarmKernel) -> list[OpenKernel]:
    """The fault: the first kernel that the command opens is the one whose memory was damaged.

    :returns: that kernel, until it is opened
    """
    really, waiting = kernel_module.open_kernel, [warm.kernel]

    def open_kernel(
        spec: TargetSpec, options: OpenOptions | None = None, progress: Progress | None = None
    ) -> OpenKernel:
        return waiting.pop() if waiting else really(spec, options, progress)

    for module in list(sys.modules.values()):
        if vars(module).get("open_kernel") is really:
            vars(module)["open_kernel"] = open_kernel
    return waiting


def _feed(data: bytes) -> NoReturn:
    """What the screen does with its reader's output; prints as the command would."""
    from explorer.codec.snapshots import write_json
    from explorer.codec.stream import SnapshotStream

    stream = SnapshotStream("the reader's output")
    try:
        stream.feed(data.split(b"\n"))
        snapshot = stream.finish()
    except SnapshotError as error:
        from explorer.model import escape_text

        sys.stderr.write(f"nullfs-explorer: {escape_text(str(error))}\n")
        sys.exit(3)
    write_json(Snapshot.model_validate(snapshot.model_dump()), sys.stdout.buffer)
    sys.exit(0)
