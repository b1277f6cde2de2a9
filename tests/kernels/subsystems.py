"""Guests in which a subsystem works, step by step, with a capture after each step."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from explorer.capture.request import CaptureRequest, CaptureStats
from explorer.capture.snapshot import capture_snapshot
from explorer.model import Finding, Severity, Snapshot, Task
from explorer.plugin import Facts, Plugin
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.kernels.lab import Guest
from tests.kernels.lab.errors import LabError

__all__ = (
    "Seen",
    "above_info",
    "capture_guest",
    "capture_stuck",
    "plugin_named",
    "read_dump",
    "run_steps",
    "wait_until",
)

_WAIT_S = 60.0


def plugin_named(name: str) -> Plugin:
    """A built-in plugin."""
    plugin = importlib.import_module(f"explorer.plugins.{name}").PLUGIN
    assert isinstance(plugin, Plugin)
    return plugin


class Seen:
    """One capture of a stopped guest, with some plugins' facts."""

    def __init__(self, snapshot: Snapshot, plugins: list[Plugin], tracebacks: list[str]) -> None:
        self.snapshot = snapshot
        self.tracebacks = tracebacks
        self.in_stack: list[int] = []
        """``capture_stuck``: pids whose kernel stack, as the guest shows it, has the function."""
        self._plugins = {plugin.name: plugin for plugin in plugins}

    def facts(self, name: str) -> Any:
        """The plugin's facts, back from what the snapshot keeps of them."""
        assert self.tracebacks == []
        raw = self.snapshot.plugins[name]
        assert raw["state"] == "loaded", raw
        return self._plugins[name].facts.model_validate(raw)

    def plugin(self, name: str) -> Plugin:
        return self._plugins[name]

    def state(self, name: str) -> str:
        return Facts.model_validate(self.snapshot.plugins[name]).state

    def findings(self, name: str) -> list[Finding]:
        """What the plugin's audit finds."""
        return list(self._plugins[name].audit(self.snapshot, self.facts(name)))

    def rules(self, name: str) -> list[str]:
        return sorted(finding.rule for finding in self.findings(name))

    def spoken_for(self, name: str) -> list[Task]:
        """The tasks that the plugin speaks for."""
        plugin = self._plugins[name]
        return [task for task in self.snapshot.tasks if any(s.matches(task) for s in plugin.speaks_for)]

    def unclaimed(self, name: str) -> list[str]:
        """Tasks that the plugin speaks for and that are not where it expects them."""
        plugin, generation = self._plugins[name], self.snapshot.kernel.generation
        return [task.name for task in self.spoken_for(name) if not plugin.claims(task, generation)]

    def borrowers(self) -> list[Task]:
        return [task for task in self.snapshot.tasks if task.borrowing]


def above_info(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity.reaches(Severity.LOW)]


def _capture(target: str, names: tuple[str, ...]) -> Seen:
    plugins = [plugin_named(name) for name in names]
    stats = CaptureStats()
    with open_kernel(detect_target(target)) as kernel:
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel, plugins), None, stats)
    return Seen(snapshot, plugins, stats.tracebacks)


def capture_guest(guest: Guest, *names: str, dump: Path | None = None) -> Seen:
    """Stop the guest, read it through QMP with these plugins, dump it too if asked for, let it run on."""
    guest.stop()
    try:
        seen = _capture(f"qemu:{guest.qmp_socket}", names)
        if dump is not None:
            guest.dump(dump)
    finally:
        guest.cont()
    return seen


def read_dump(dump: Path, *names: str) -> Seen:
    """Read a dump with these plugins; it is removed."""
    seen = _capture(str(dump), names)
    dump.unlink()
    return seen


def capture_stuck(guest: Guest, function: str, *names: str) -> Seen:
    """Wait until somebody's kernel stack has ``function`` and, further in, FUSE; then capture."""
    listing = f"grep -l {function} $(grep -l ' fuse_' /proc/[0-9]*/stack)"
    wait_until(guest, f"{listing} | grep -q stack")
    pids = [int(row.split("/")[2]) for row in run_steps(guest, listing).split()]
    seen = capture_guest(guest, *names)
    seen.in_stack = pids
    return seen


def run_steps(guest: Guest, *lines: str) -> str:
    """Run lines of shell, which must all succeed; what they printed."""
    printed: Iterator[str] = (_run(guest, line) for line in lines)
    return "\n".join(printed)


def _run(guest: Guest, line: str) -> str:
    code, text = guest.sh(line)
    if code:
        raise LabError(f"in the guest: {line!r} ends with {code}: {text[-500:]}")
    return text


def wait_until(guest: Guest, line: str, timeout_s: float = _WAIT_S) -> None:
    """Run a line of shell again and again until it succeeds."""
    deadline = time.monotonic() + timeout_s
    while guest.sh(line)[0]:
        if time.monotonic() > deadline:
            raise LabError(f"in the guest: {line!r} never succeeds")
        time.sleep(0.2)
