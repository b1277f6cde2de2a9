"""The rows that a filter leaves, against the same worked out task by task; and threads that give way to the screen."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence

import pytest

from explorer.analysis.query.index import TaskIndex, selected
from explorer.model import Snapshot
from explorer.tui.session.background import give_way, in_background, note_input
from explorer.tui.views.tasks.groups import TaskGroups


def _grouped(index: TaskIndex, groups: TaskGroups, order: Sequence[int], opened: set[int]) -> list[int]:
    """Groups in the order of their first task; a head only where more than one task owns the ``fs_struct``."""
    members: dict[int, list[int]] = {}
    for place in order:
        members.setdefault(index.fs.codes[place], []).append(place)
    rows: list[int] = []
    for code, places in members.items():
        if groups.is_many(code):
            rows.append(-1 - code)
        if not groups.is_many(code) or code in opened:
            rows += places
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_any_filter_any_order_and_any_open_groups_are_laid_out_exactly(saved: Snapshot, seed: int) -> None:
    chance = random.Random(seed)
    index = TaskIndex(saved)
    groups = TaskGroups(index)
    mask = bytes(chance.random() < seed / 19 for _ in saved.tasks)
    opened = {code for code in groups.codes if chance.random() < 0.5}
    structs = len({index.fs.values[index.fs.codes[place]] for place in selected(mask)} - {None})
    order = selected(mask)
    chance.shuffle(order)
    rows, counted, members = groups.lay_out_sorted(order, opened.__contains__)
    assert rows == _grouped(index, groups, order, opened)
    assert counted == structs == groups.count_structs(mask)
    assert all(
        places == [at for at in order if index.fs.codes[at] == code] for code, places in members.items()
    )
    rows, counted = groups.lay_out(mask, opened.__contains__)
    everything, _ = groups.lay_out(index.everything, lambda _: True)
    in_groups = [place for place in everything if place >= 0 and mask[place]]
    assert rows == _grouped(index, groups, in_groups, opened)
    assert counted == structs


def test_the_switch_interval_is_as_before_once_the_last_work_is_done() -> None:
    usual = sys.getswitchinterval()
    with in_background():
        with in_background():
            assert sys.getswitchinterval() < usual
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_the_screens_own_thread_is_never_made_to_wait_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        raise AssertionError(f"it slept for {seconds} s")

    note_input()
    monkeypatch.setattr("explorer.tui.session.background.time.sleep", sleep)
    give_way()
