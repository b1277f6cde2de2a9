"""What the project promises of its speed: ratios of figures of one run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.recording import (
    BOOT_FILE,
    BOOT_FRAME,
    BOOT_TOTAL,
    RECORDING_FILE,
    RECORDING_FRAME,
    RECORDING_TOTAL,
)
from bench.report import Ratio, Row
from bench.targets import Crowd

__all__ = ("ratios_of",)

_MB = 1e6
#: Peak memory: bytes a task, and what Python, drgn and the kernel's types take for themselves.
_BYTES_A_TASK = 4096
_BYTES_BESIDES = 150 * _MB


def _quotient(above: float | None, below: float | None, factor: float = 1.0) -> float | None:
    return None if above is None or not below else above * factor / below


def ratios_of(rows: Sequence[Row], main: Crowd, growth: Sequence[Crowd]) -> list[Ratio]:
    """Every promise, with what this run has to say of it. Names are those that the measuring modules give."""
    value = {row.what: row.value for row in rows}
    capture, full = f"capture: {main.name}", f"straightforward, same fields: {main.name}"
    whole = f"snapshot, end to end: {main.name}"
    loop_s = value.get(f"straightforward script, its loop alone: {main.name}")
    script_s = value.get(f"straightforward script, end to end: {main.name}")
    short = value.get(f"straightforward, ten fields: {main.name}")
    largest, smallest = growth[-1], growth[0]
    found = [
        Ratio(
            "capture / raw reads",
            _quotient(value.get(capture), value.get(f"raw reads alone: {main.name}")),
            2.5,
        ),
        Ratio(
            "straightforward (same fields) / capture",
            _quotient(value.get(full), value.get(capture)),
            10,
            True,
        ),
        Ratio("straightforward (ten fields) / capture", _quotient(short, value.get(capture)), 10, True),
        Ratio(
            f"a task of {largest.tasks:,} / a task of {main.tasks:,}",
            _quotient(value.get(f"growth: {largest.name}"), value.get(f"growth: {main.name}")),
            1.3,
        ),
        Ratio(
            f"a task of {largest.tasks:,} / a task of {smallest.tasks:,} (another, smaller guest)",
            _quotient(value.get(f"growth: {largest.name}"), value.get(f"growth: {smallest.name}")),
            None,
        ),
        Ratio(
            "straightforward loop, without opening / snapshot, all of it",
            _quotient(loop_s, value.get(whole)),
            6,
            True,
        ),
        Ratio(
            "straightforward script / snapshot, as processes", _quotient(script_s, value.get(whole)), 6, True
        ),
    ]
    for crowd in (main, largest):
        peak = value.get(f"snapshot, peak memory: {crowd.name}")
        allowed = (_BYTES_A_TASK * crowd.tasks + _BYTES_BESIDES) / _MB
        found.append(
            Ratio(f"peak memory / (4 KB a task + 150 MB): {crowd.tasks:,}", _quotient(peak, allowed), 1)
        )
    found += [
        Ratio("open the sample, warm: seconds", value.get("open the sample, warm"), 0.25),
        Ratio(
            "open the sample, cold / drgn with full DWARF",
            _quotient(
                value.get("open the sample, cold"), value.get("drgn with the full DWARF of that kernel")
            ),
            1.3,
        ),
        Ratio("recorder frame of an idle guest: ms", value.get("recorder frame: idle guest, over QMP"), 10),
        *(
            Ratio(f"{what}: ms", value.get(what), 20)
            for what in (RECORDING_TOTAL, RECORDING_FRAME, BOOT_TOTAL, BOOT_FRAME)
        ),
        *(Ratio(f"{what}: KB", value.get(what), 5) for what in (RECORDING_FILE, BOOT_FILE)),
        Ratio(
            "--help / import click",
            _quotient(value.get("nullfs-explorer --help"), value.get('python -c "import click"')),
            2.5,
        ),
    ]
    return found
