"""The main screens as text, at three sizes. A difference is a change that somebody should look at."""

from __future__ import annotations

import asyncio

import pytest

from explorer.analysis.audit import AuditReport
from explorer.model import Finding, Severity, Snapshot, task_reference
from explorer.tui.app import ExplorerApp
from explorer.tui.session.state import View

from .conftest import Golden, press, screen_text

SIZES = ((80, 24), (120, 36), (200, 50))
#: Screen -> keys that lead to it.
SCREENS = {
    "overview": (),
    "tasks": ("t",),
    "tasks-open": ("t", "enter", "j", "j"),
    "tasks-flat": ("t", "v"),
    "tasks-filtered": ("t", "slash", *"root:chroot", "enter", "j"),
    "fs_structs": ("f", "j"),
    "mounts": ("m", "j", "j"),
    "namespaces": ("M", "j", "j"),
    "findings": ("n",),
    "subsystems": ("s",),
    "columns": ("t", "A", "j", "j"),
    "help": ("t", "question_mark"),
}


def some_findings(snapshot: Snapshot) -> AuditReport:
    """Findings that no rule of tomorrow can change."""
    tasks = {task.comm: task for task in snapshot.tasks}
    cases = (
        (Severity.HIGH, "NX-DETACHED-ROOT", "detached-root (127) is rooted in a detached tmpfs", "detached-root"),
        (Severity.INFO, "NX-BORROW", "borrower is looking paths up through userspace_init_fs", "borrower"),
        (Severity.INFO, "NX-NAME", "\x1b[31m[bold]evil is a name with a terminal escape in it", "kthreadd"),
    )  # fmt: skip
    return AuditReport(
        [
            Finding(
                rule=rule,
                severity=severity,
                title=title,
                evidence=[task_reference(tasks[name])],
                explanation="What it means on this kernel.",
                advice="What to do.",
            )
            for severity, rule, title, name in cases
        ]
    )


def app_with_findings(snapshot: Snapshot) -> ExplorerApp:
    app = ExplorerApp(snapshot=snapshot)
    view = View(snapshot)
    view.__dict__["audit"] = some_findings(snapshot)
    app.source.view = view
    return app


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("screen", SCREENS)
def test_the_screen_looks_as_it_did(
    saved: Snapshot, golden: Golden, screen: str, size: tuple[int, int]
) -> None:
    async def draw() -> str:
        app = app_with_findings(saved)
        async with app.run_test(size=size) as pilot:
            await press(pilot, *SCREENS[screen])
            return screen_text(app)

    text = asyncio.run(draw())
    assert all(len(line) <= size[0] for line in text.splitlines())
    golden(f"{screen}-{size[0]}x{size[1]}", text)
