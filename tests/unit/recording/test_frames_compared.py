"""Frames that are compared, or audited one after the other, share what did not change: nothing else comes of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from explorer.analysis import findings_of_rule, run_audit
from explorer.analysis.diff import diff_snapshots
from explorer.analysis.rules import RULES
from explorer.codec import load_snapshot
from explorer.model import Finding, Snapshot
from explorer.output import diff_json
from explorer.plugin import PluginSet
from explorer.reading import load_frames, load_saved
from explorer.recording import Recording
from explorer.targets import TargetSpec
from tests.unit.codec.test_columns import LIVELY
from tests.unit.recordings import write_recording

BOOT = Path(__file__).parents[2] / "data" / "boot-7.3.nxrec"


def _specs(*moments: str) -> list[TargetSpec]:
    return [TargetSpec("recording", f"{BOOT}@{moment}", path=BOOT, moment=moment) for moment in moments]


def _readable() -> list[int]:
    with Recording.open(BOOT) as recording:
        return [number for number, bad in enumerate(recording.unreadable) if not bad]


def test_frames_that_share_records_differ_as_those_that_were_opened_by_themselves() -> None:
    readable = _readable()
    step = max(1, len(readable) // 6)
    some = readable[::step]
    for a, b in [
        *pairwise(some),
        (some[0], some[-1]),
        (some[-1], some[1]),
        (some[2], some[2]),
    ]:
        specs = _specs(f"#{a}", f"#{b}")
        shared, alone = load_frames(*specs), [load_saved(spec) for spec in specs]
        assert [name for _, name in shared] == [name for _, name in alone]
        assert diff_json(diff_snapshots(*(snapshot for snapshot, _ in shared))) == diff_json(
            diff_snapshots(*(snapshot for snapshot, _ in alone))
        )


def test_frames_that_are_compared_are_the_same_objects_where_nothing_changed() -> None:
    last = _readable()[-1]
    (a, _), (b, _) = load_frames(*_specs(f"#{last - 1}", f"#{last}"))
    shared = {id(task) for task in a.tasks} & {id(task) for task in b.tasks}
    assert len(shared) > len(b.tasks) * 0.9


def _about(findings: list[Finding]) -> list[tuple[str, list[tuple[str, int | None]]]]:
    return sorted(
        (each.rule, [(reference.kind, reference.address or 0) for reference in each.evidence])
        for each in findings
    )


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """A recording in which a clock makes a finding: tasks wait, and nothing else of them changes."""
    with Recording.open(BOOT) as recording:
        first = recording.snapshot_at(None)
    frames = [first]
    for _ in range(4):
        frames.append(_later(frames[-1]))
    path = tmp_path / "stuck.nxrec"
    write_recording(path, frames)
    return path


def _later(snapshot: Snapshot) -> Snapshot:
    tasks = [
        task.model_copy(
            update={"waiting_s": None if task.waiting_s is None else round(task.waiting_s + 4, 3)}
        )
        for task in snapshot.tasks
    ]
    return snapshot.model_copy(update={"tasks": tasks})


def test_a_rule_finds_in_frames_that_share_records_what_it_finds_in_each_alone(stuck: Path) -> None:
    plugins = PluginSet().plugins
    for path in (BOOT, stuck):
        with Recording.open(path) as recording:
            readable = [number for number, bad in enumerate(recording.unreadable) if not bad]
            for index in [*readable[:: max(1, len(readable) // 8)], readable[-1]]:
                still, alone = recording.still_frame(index).snapshot, recording.frame(index).snapshot
                assert still is not None and alone is not None
                every = run_audit(alone, plugins).findings
                for rule in RULES:
                    found = findings_of_rule(rule.id, still, plugins)
                    assert _about(found) == _about(run_audit(alone, plugins, [rule.id]).findings)
                    if "BORROWER" not in rule.id:  # which a plugin's finding may take the place of
                        assert _about(found) == _about([each for each in every if each.rule == rule.id])


def test_a_rule_of_a_plugin_is_asked_of_that_plugin_alone() -> None:
    plugins, snapshot = PluginSet().plugins, load_snapshot(LIVELY)
    found = [
        each for each in run_audit(snapshot, plugins).findings if all(each.rule != rule.id for rule in RULES)
    ]
    assert found
    for rule in {each.rule for each in found}:
        asked = findings_of_rule(rule, snapshot, plugins)
        assert _about(asked) == _about(run_audit(snapshot, plugins, [rule]).findings)
