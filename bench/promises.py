"""What the project promises of its speed: ratios of figures of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.capturing import KDUMP, QMP
from bench.crash import DRGNS_CRASH
from bench.recording import (
    BOOT_FILE,
    BOOT_FRAME,
    BOOT_SEARCH,
    BOOT_TOTAL,
    RECORDING_FILE,
    RECORDING_FRAME,
    RECORDING_TOTAL,
)
from bench.report import Ratio, Row
from bench.targets import Crowd

__all__ = ("ratios_of",)

_Values = Mapping[str, float | None]
_MB = 1e6
#: Peak memory: bytes a task, and what Python, drgn and the kernel's types take for themselves.
_BYTES_A_TASK = 4096
_BYTES_BESIDES = 150 * _MB


def _quotient(above: float | None, below: float | None, factor: float = 1.0) -> float | None:
    return None if above is None or not below else above * factor / below


def ratios_of(rows: Sequence[Row], main: Crowd, growth: Sequence[Crowd]) -> list[Ratio]:
    """Every promise, with what this run has to say of it. Names are those that the measuring modules give."""
    value = {row.what: row.value for row in rows}
    return [
        *_of_capture(value, main, growth),
        *_of_snapshot(value, main),
        *(_peak(value, crowd) for crowd in (main, growth[-1])),
        *_of_opening(value),
        *_of_recording(value),
        Ratio(
            "--help / import click",
            _quotient(value.get("nullfs-explorer --help"), value.get('python -c "import click"')),
            2.5,
        ),
    ]


def _of_capture(value: _Values, main: Crowd, growth: Sequence[Crowd]) -> list[Ratio]:
    capture = value.get(f"capture: {main.name}")
    full = value.get(f"straightforward, same fields: {main.name}")
    short = value.get(f"straightforward, ten fields: {main.name}")
    largest, smallest = growth[-1], growth[0]
    slowest = value.get(f"growth: {largest.name}")
    peer = value.get(f"{DRGNS_CRASH}: {main.name}")
    return [
        Ratio("capture / raw reads", _quotient(capture, value.get(f"raw reads alone: {main.name}")), 1.6),
        Ratio("straightforward (same fields) / capture", _quotient(full, capture), 25, True),
        Ratio("straightforward (ten fields) / capture", _quotient(short, capture), 10, True),
        Ratio(f"{DRGNS_CRASH} / capture", _quotient(peer, capture), 40, True),
        *(
            Ratio(
                f"capture / raw reads{how}",
                _quotient(
                    value.get(f"capture: {main.name}{how}"), value.get(f"raw reads alone: {main.name}{how}")
                ),
                bound,
            )
            for how, bound in ((QMP, 2), (KDUMP, 2))
        ),
        Ratio(
            f"a task of {largest.tasks:,} / a task of {main.tasks:,}",
            _quotient(slowest, value.get(f"growth: {main.name}")),
            1.3,
        ),
        Ratio(
            f"a task of {largest.tasks:,} / a task of {smallest.tasks:,} (another, smaller guest)",
            _quotient(slowest, value.get(f"growth: {smallest.name}")),
            None,
        ),
    ]


def _of_snapshot(value: _Values, main: Crowd) -> list[Ratio]:
    whole = value.get(f"snapshot, end to end: {main.name}")
    loop = value.get(f"straightforward script, its loop alone: {main.name}")
    script = value.get(f"straightforward script, end to end: {main.name}")
    return [
        Ratio("straightforward loop, without opening / snapshot, all of it", _quotient(loop, whole), 6, True),
        Ratio("straightforward script / snapshot, as processes", _quotient(script, whole), 8, True),
    ]


def _peak(value: _Values, crowd: Crowd) -> Ratio:
    peak = value.get(f"snapshot, peak memory: {crowd.name}")
    allowed = (_BYTES_A_TASK * crowd.tasks + _BYTES_BESIDES) / _MB
    return Ratio(f"peak memory / (4 KB a task + 150 MB): {crowd.tasks:,}", _quotient(peak, allowed), 1)


def _of_opening(value: _Values) -> list[Ratio]:
    cold, dwarf = value.get("open the sample, cold"), value.get("drgn with the full DWARF of that kernel")
    return [
        Ratio("open the sample, warm: seconds", value.get("open the sample, warm"), 0.25),
        Ratio("open the sample, cold / drgn with full DWARF", _quotient(cold, dwarf), 1.3),
    ]


def _of_recording(value: _Values) -> list[Ratio]:
    milliseconds = (RECORDING_TOTAL, RECORDING_FRAME, BOOT_TOTAL, BOOT_FRAME)
    return [
        Ratio("recorder frame of an idle guest: ms", value.get("recorder frame: idle guest, over QMP"), 10),
        *(Ratio(f"{what}: ms", value.get(what), 20) for what in milliseconds),
        Ratio(f"{BOOT_SEARCH}: ms", value.get(BOOT_SEARCH), 5),
        *(Ratio(f"{what}: KB", value.get(what), 5) for what in (RECORDING_FILE, BOOT_FILE)),
    ]
