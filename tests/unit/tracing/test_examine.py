"""What doctor says of tracing: every lack with what to do, and nothing that stops it."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.targets import Check
from explorer.tracing import examine, instances
from explorer.tracing.examine import examine_tracing
from explorer.tracing.instances import Owner, find_tracefs, remove_stale

README = "x\n\t           f[:[<group>/][<event>]] <func-name>[%return] [<args>]\n\t     <argname>[->field[->field]],\n"


@pytest.fixture
def tracefs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somewhere that looks like one; without lockdown."""
    place = tmp_path / "tracing"
    for directory in ("instances", "events"):
        (place / directory).mkdir(parents=True)
    (place / "README").write_text(README)
    (place / "dynamic_events").write_text("")
    (place / "kprobe_events").touch()
    monkeypatch.setattr(instances, "_PLACES", (str(place),))
    monkeypatch.setattr(examine, "_LOCKDOWN", tmp_path / "lockdown")
    return place


def checks() -> dict[str, Check]:
    return {check.name: check for check in examine_tracing()}


def test_a_machine_that_has_all_lacks_nothing(tracefs: Path) -> None:
    assert all(check.good and not check.remedy for check in checks().values())
    assert checks()["lookup events"].found == "fprobe events with BTF arguments"


@pytest.mark.parametrize(
    ("readme", "says"),
    [
        ("x", "kprobe events (no fprobe events: "),
        (README.replace("->field", ""), "kprobe events (no BTF arguments: "),
    ],
)
def test_an_older_kernel_does_with_kprobes_and_says_what_that_costs(
    tracefs: Path, readme: str, says: str
) -> None:
    (tracefs / "README").write_text(readme)
    assert checks()["lookup events"].good
    assert checks()["lookup events"].found.startswith(says)


def test_each_lack_says_what_to_do(tracefs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tracefs / "README").write_text("x")
    (tracefs / "kprobe_events").unlink()
    (tmp_path / "lockdown").write_text("none integrity [confidentiality]\n")
    (tracefs / "instances" / Owner(*_here(), 1 << 60).name).mkdir()
    found = checks()
    assert found["lookup events"].remedy == "trace: needs CONFIG_KPROBE_EVENTS"
    assert "lockdown=integrity" in found["lockdown"].remedy
    assert (found["traces"].found, found["traces"].remedy) == (
        "1 that were killed have left something",
        "trace --clean",
    )
    monkeypatch.setattr(instances, "_PLACES", (str(tmp_path / "none"),))
    assert "mount -t tracefs nodev" in checks()["tracefs"].remedy


def _here() -> tuple[int, int]:
    mine = Owner.this()
    return mine.namespace, mine.pid


def test_only_what_ended_processes_of_ours_left_is_removed(tracefs: Path) -> None:
    namespace, pid = _here()
    ours = Owner.this()
    gone, reused = Owner(namespace, 1 << 23, 5), Owner(namespace, pid, ours.start + 1)
    foreign = Owner(namespace + 1, 1 << 23, 5)
    names = [each.name for each in (ours, gone, reused, foreign)]
    for name in [*names, "somebody", "nullfs_explorer_1_2", "nullfs_explorer_1_2_3_4"]:
        (tracefs / "instances" / name).mkdir()
    removed, left = remove_stale(find_tracefs())
    assert (removed, left) == (sorted([gone.name, reused.name]), [])
    assert {path.name for path in (tracefs / "instances").iterdir()} == {
        ours.name, foreign.name, "somebody", "nullfs_explorer_1_2", "nullfs_explorer_1_2_3_4",
    }  # fmt: skip


def test_an_instance_that_cannot_be_removed_is_said_and_does_not_hold_anything_up(tracefs: Path) -> None:
    gone = Owner(_here()[0], 1 << 23, 5)
    (tracefs / "instances" / gone.name / "in-use").mkdir(parents=True)
    removed, [left] = remove_stale(find_tracefs())
    assert removed == []
    assert gone.name in left
    assert "not empty" in left
