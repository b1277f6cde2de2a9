"""crash on the same question: ``foreach files`` prints root and cwd of every task. crash(8) where there is one, and the
commands of that name that drgn has since 0.3."""

from __future__ import annotations

import contextlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from drgn.commands import run_command

from bench.report import Row
from bench.targets import Crowd, dump_of, dwarf_of
from explorer.targets import detect_target, open_kernel
from tests.kernels.lab.errors import LabError

__all__ = ("DRGNS_CRASH", "measure_crash", "measure_drgns_crash")

#: What drgn's own command is called in the table.
DRGNS_CRASH = "drgn's crash foreach files"

_TIMEOUT_S = 1800.0
#: The newest line on which crash can answer. 7.3 is refused by 9.0.2 ("invalid structure member offset:
#: module_num_gpl_syms") and by 8.0.6 ("... kmem_cache_s_num"). With ``--no_kmem_cache --no_modules`` 8.0.6 opens
#: it, but ``files`` then says "invalid structure member offset: dentry_d_iname" of every task: no path at all.
_LINE = "6.12"
#: crash has no clock of its own; starting date(1) twice costs milliseconds.
_COMMANDS = "!date +begin=%s.%N\nforeach files\n!date +end=%s.%N\nquit\n"
_CLOCK = re.compile(r"^(begin|end)=(\d+\.\d+)$", re.MULTILINE)
_ROOT = re.compile(r"^ROOT: /", re.MULTILINE)
#: What stops a command stops only that of one task, and the exit code is 0 all the same.
_ERROR = re.compile(r"^(?:crash|foreach|files): .*\S", re.MULTILINE)


@dataclass(frozen=True)
class _Answer:
    """One run: seconds until crash took commands, seconds for ``foreach files``, and the roots it printed."""

    start: float
    loop: float
    roots: int


def _run(vmlinux: Path, dump: Path, least: int) -> _Answer:
    """Start crash and ask once.

    :raises RuntimeError: it fails, says an error, or prints fewer than ``least`` roots; with what it said
    """
    started = time.time()  # the clock of date(1)
    try:
        done = subprocess.run(
            ["crash", "-s", "--no_scroll", "--no_crashrc", str(vmlinux), str(dump)],
            input=_COMMANDS,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"crash takes longer than {_TIMEOUT_S:g} s") from None
    said = f"{done.stderr}\n{done.stdout}"
    error = _ERROR.search(said)
    if error is not None:
        raise RuntimeError(f"on {_LINE}, {error[0]}")
    clock = {name: float(seconds) for name, seconds in _CLOCK.findall(done.stdout)}
    roots = len(_ROOT.findall(done.stdout))
    if done.returncode or len(clock) < 2 or roots < least:
        raise RuntimeError(
            f"crash prints {roots} roots of at least {least}, and exits with {done.returncode}"
        )
    return _Answer(clock["begin"] - started, clock["end"] - clock["begin"], roots)


def _version() -> str:
    """As crash prints it: "crash 8.0.6"."""
    said = subprocess.run(["crash", "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"^crash \S+", said, re.MULTILINE)
    return version[0] if version else "crash of no known version"


def measure_crash(tasks: int, memory_mb: int, rounds: int) -> list[Row]:
    """µs a task of ``foreach files``, without the time crash needs to start; or why there is no figure.

    ``files`` also lists the open files of a task, and it cannot be told not to; a task of the crowd has three.
    Tasks without an ``fs_struct`` (zombies) have no line with a root, and are not counted.
    """
    what = f"crash, foreach files: {_LINE}"
    if shutil.which("crash") is None:
        return [Row(what, None, "µs/task", note="not available: crash is not installed")]
    try:
        vmlinux = dwarf_of(_LINE)
        if vmlinux is None:
            raise RuntimeError(f"the lab has no vmlinux (tests.kernels.lab fetch --debug {_LINE})")
        dump = dump_of(Crowd("crowd", tasks, memory_mb, _LINE))
        answers = [_run(vmlinux, dump, tasks) for _ in range(rounds)]
    except (RuntimeError, LabError) as error:
        return [Row(what, None, "µs/task", note=f"not available: {error}")]
    start = statistics.median(answer.start for answer in answers)
    each = statistics.median(answer.loop / answer.roots for answer in answers)
    note = f"{_version()}, and the open files with it; after {start:.1f} s to start"
    return [Row(what, each * 1e6, "µs/task", tasks=answers[0].roots, note=note)]


def measure_drgns_crash(dump: Path, name: str, tasks: int) -> list[Row]:
    """µs a task of drgn's ``crash foreach files``, once: a run takes half a minute. The open files are listed, too.

    :param tasks: how many there are at least
    :raises RuntimeError: if it prints fewer roots
    """
    with open_kernel(detect_target(str(dump))) as kernel, tempfile.TemporaryFile("w+") as out:
        started = time.perf_counter()
        with contextlib.redirect_stdout(out):
            run_command(kernel.prog, "crash foreach files")
        taken = time.perf_counter() - started
        out.seek(0)
        roots = len(_ROOT.findall(out.read()))
    if roots < tasks:
        raise RuntimeError(f"drgn's crash prints {roots} roots of at least {tasks}")
    note = "without debug info, and the open files with it; once"
    return [Row(f"{DRGNS_CRASH}: {name}", taken / roots * 1e6, "µs/task", tasks=roots, note=note)]
