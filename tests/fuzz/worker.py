"""One case in a process of its own: with limits, and judged by what it printed and how it ended."""

from __future__ import annotations

import gc
import io
import os
import random
import re
import resource
import select
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from explorer.codec.snapshots import SnapshotError, parse_snapshot
from explorer.model import Snapshot
from explorer.targets.kernel import OpenKernel, OpenOptions
from explorer.targets.spec import Progress, TargetSpec
from tests.holes import differences

from .baselines import AUDITED, BASELINE_MUTATORS, BASELINE_SUFFIX
from .bases import SMALLEST, Bases, WarmKernel
from .crafted import CRAFTED_MUTATORS
from .crafted_files import CRAFTED_FILE_MUTATORS
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

DEADLINE_S = 10
#: Of wall time: the machine may be busy with something else. A case that sleeps ends here.
_WALL_S = 60.0
MEMORY = 1 << 30
_PRINTED = 64 << 20
_END_TO_END = 0.02
#: Fault, or wrong usage: neither is an answer to damage, but for an option's file.
_CODES = {0: "whole", 1: "whole", 3: "refused", 4: "honest errors"}
_OPTION_REFUSED = 2
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
        self._seed = seed
        self._bases = Bases()
        self._runs: dict[str, Callable[[random.Random], tuple[list[str], Callable[[], None]]]] = {}

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
        ended = _Ended(self._bases.path, command, prepare, end_to_end)
        failure, outcome = ended.judge()
        if failure is None and mutator in _DIFFERENTIAL and command[:3] == _JSON:
            failure = ended.compare([self._bases.warm(name).snapshot for name in _MEMORY_BASES])
        return Result(
            mutator, case.number, outcome, ended.seconds, ended.wall, ended.rss, failure, " ".join(command)
        )

    def _memory_case(
        self, mutator: str, number: int, rng: random.Random
    ) -> tuple[list[str], Callable[[], None]]:
        warm = self._bases.warm(rng.choice(_MEMORY_BASES))
        patches = MEMORY_MUTATORS[mutator](warm, rng)
        command = self._rarely(mutator, number, "sample") or [*rng.choice(_COMMANDS), "sample"]
        if mutator in _DIFFERENTIAL and number % 2:
            command = [*_JSON, "sample"]

        def prepare() -> None:
            apply_patches(warm.prog, patches, warm.direct_map)
            _open_instead(warm)

        return command, prepare

    def _file_case(
        self, mutator: str, number: int, rng: random.Random
    ) -> tuple[list[str], Callable[[], None]]:
        case = FILE_MUTATORS[mutator](self._bases, rng)
        path = self._write(case)
        if case.suffix == ".ko":
            return ["ko", str(path), *case.options], lambda: None
        if case.suffix == BASELINE_SUFFIX:
            return self._audit_with(path, rng), lambda: None
        if case.suffix == TRACE_SUFFIX:
            return [*rng.choice(TRACE_COMMANDS), str(path)], lambda: None
        command = [*rng.choice(_COMMANDS), str(path)]
        if mutator in _DIFFERENTIAL and number % 2:
            return [*_JSON, str(path)], lambda: None
        if case.suffix == ".nxrec" and rng.random() < 0.7:
            command = [*rng.choice(_RECORDING_COMMANDS), str(path)]
            command += [f"#{rng.randrange(14)}"] if command[0] == "frame" else []
        command = (self._rarely(mutator, number, str(path)) or command) + list(case.options)
        if case.vmcoreinfo is not None:
            info = self._bases.path / "vmcoreinfo"
            info.write_bytes(case.vmcoreinfo)
            command += ["--vmcoreinfo", str(info)]
        return command, lambda: None

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


def _open_instead(warm: WarmKernel) -> None:
    """The fault: the first kernel that the command opens is the one whose memory was damaged."""
    import explorer.targets.kernel as module

    really, waiting = module.open_kernel, [warm.kernel]

    def open_kernel(
        spec: TargetSpec, options: OpenOptions | None = None, progress: Progress | None = None
    ) -> OpenKernel:
        return waiting.pop() if waiting else really(spec, options, progress)

    module.open_kernel = open_kernel


def _feed(data: bytes) -> None:
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


class _Ended:
    """A case that was run: its output, its end, its cost."""

    def __init__(
        self, directory: Path, command: list[str], prepare: Callable[[], None], end_to_end: bool
    ) -> None:
        self._command = command
        self._out, self._err = directory / "stdout", directory / "stderr"
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._child(prepare, end_to_end)
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            self._hung = not poll.poll(_WALL_S * 1000)
            if self._hung:
                os.kill(pid, signal.SIGKILL)
            _, self._status, usage = os.wait4(pid, 0)
        finally:
            os.close(descriptor)
        self.wall = time.monotonic() - started
        self.seconds = usage.ru_utime + usage.ru_stime
        self.rss = usage.ru_maxrss * 1024
        self.out, self.err = self._out.read_bytes(), self._err.read_bytes()

    def _child(self, prepare: Callable[[], None], end_to_end: bool) -> None:
        """Does not return."""
        code = 99
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            for path, number in ((self._out, 1), (self._err, 2)):
                os.dup2(os.open(path, flags, 0o600), number)
            resource.setrlimit(resource.RLIMIT_CPU, (DEADLINE_S, DEADLINE_S + 1))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            signal.signal(signal.SIGXCPU, signal.SIG_DFL)
            if end_to_end:
                os.execv(sys.executable, [sys.executable, "-m", "explorer", *self._command])
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=False)
            sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace")
            gc.disable()
            prepare()
            if self._command[0] not in _FED:
                from explorer.cli.command import main

                main(self._command)
            code = 98
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:  # noqa: BLE001 - this is the end of a child: it is judged by what it printed
            import traceback

            os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
        finally:
            os._exit(code)

    def judge(self) -> tuple[str | None, str]:
        """(what is wrong or ``None``, name of the outcome)"""
        if self._hung:
            return f"no end after {_WALL_S:g} s", "hang"
        if os.WIFSIGNALED(self._status):
            number = os.WTERMSIG(self._status)
            what = "hang" if number == signal.SIGXCPU else "signal"
            return f"ended by {signal.Signals(number).name}", what
        if self.rss > MEMORY:
            return f"{self.rss >> 20} MB of memory", "memory"
        code = os.WEXITSTATUS(self._status)
        text = self.err.decode("utf-8", "backslashreplace")
        if "the reader was ended by signal" in text:  # its watcher lives, and says so
            return f"a crash: {text.strip()[-500:]}", "signal"
        if "Traceback" in text or "a fault of this program" in text:
            return f"a fault: {text.strip()[-3000:]}", "fault"
        if code == _OPTION_REFUSED and "--baseline" in self._command:
            sound = len(text.splitlines()) == 1 and not self.out and "--baseline: " in text
            return (None if sound else f"exit code 2: {text.strip()[-500:]}"), "refused"
        if code not in _CODES:
            return f"exit code {code}: {text.strip()[-500:]}", "exit code"
        return self._judge_output(code, text)

    def compare(self, bases: list[Snapshot]) -> str | None:
        """What the snapshot on stdout says differently than that of the kernel it is of; ``None``: nothing."""
        if os.WEXITSTATUS(self._status) not in (0, 4):
            return None
        snapshot = parse_snapshot(self.out, "the output")
        whole = next(base for base in bases if base.kernel.release == snapshot.kernel.release)
        found = differences(whole, snapshot)
        return f"{len(found)} values differ from those of the whole kernel: {found[:5]}" if found else None

    def _says_on_stdout(self) -> bool:
        """A table of lookups says itself what a trace lacks."""
        said = ("Lost: ", "was cut off", "before it was told to", "unknown")
        return self._command[0] == "trace" and any(words.encode() in self.out for words in said)

    def _judge_output(self, code: int, text: str) -> tuple[str | None, str]:
        lines = [line for line in text.splitlines() if not line.startswith("progress\t")]
        control = _control(self.out.decode("utf-8", "surrogateescape")) or _control("\n".join(lines))
        if control is not None:
            return f"control character {control!r} in the output", "escape"
        if code == 3 and (len(lines) != 1 or self.out):
            return f"exit code 3 with {len(lines)} lines and {len(self.out)} bytes of output", "words"
        if code == 4 and not lines and not self._says_on_stdout():
            return "exit code 4 and not a word", "words"
        if code == 4 and "plugin" in text and re.search(r"\b[A-Z]\w*Error: ", text):
            return None, "plugin raised"
        if code == 3 and "out of memory" in text:
            return None, "out of memory"
        if code in (0, 4) and self._command[:3] == ["snapshot", "--format", "json"]:
            try:
                parse_snapshot(self.out, "the output")
            except SnapshotError as error:
                return f"the output is no snapshot: {error}", "output"
        return None, _CODES[code]


def _control(text: str) -> str | None:
    """The first character that no output may have: control, bidi, or a byte that is not UTF-8."""
    if text.isascii() and text.replace("\n", "").replace("\r\n", "\n").isprintable():
        return None
    for char in text:
        if char not in "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            if char == "\r":
                continue  # RFC 4180 ends a line of CSV with it
            return char
    return None
