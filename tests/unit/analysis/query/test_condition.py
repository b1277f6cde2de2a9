"""``record --until``: when a condition holds of a snapshot."""

from __future__ import annotations

import pytest

from explorer.analysis.query.condition import parse_condition
from explorer.analysis.query.parse import QueryError
from explorer.model import Snapshot


def holds(text: str, snapshot: Snapshot) -> bool:
    return parse_condition(text).holds(snapshot)


@pytest.fixture
def named(isolated: Snapshot) -> Snapshot:
    for task in isolated.tasks:
        task.comm = {1: "systemd", 2: "kthreadd"}.get(task.pid, task.comm)
    return isolated


@pytest.mark.parametrize(
    "text",
    [
        'task(1).comm == "systemd"',
        "task(1).comm=systemd",
        "task( 1 ).comm ~ ^syst",
        "pid:1 comm:systemd",
        "kind:kthread",
        'task(1).comm == "systemd" and task(2).comm == kthreadd',
        'task(1).comm == "x" or task(2).comm == kthreadd',
        'task(1).comm == "x" and task(2).comm == y or task(1).pid == 1',
        "task(1).owner == userspace_init_fs",
        "task(1).comm == systemd and comm:kthreadd",
        "(pid:7 or comm:kthreadd) and task(1).comm == 'systemd'",
        "not borrowing pid:1",
    ],
)
def test_a_condition_holds_if_a_task_is_as_it_says(text: str, named: Snapshot) -> None:
    assert holds(text, named)


@pytest.mark.parametrize(
    "text",
    [
        'task(1).comm == "kthreadd"',
        "task(99999).pid > 0",
        'task(1).comm == "systemd" and task(2).comm == systemd',
        "pid:1 comm:kthreadd",
    ],
)
def test_a_condition_about_one_task_is_not_met_by_another(text: str, named: Snapshot) -> None:
    assert not holds(text, named)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "task(1).",
        "task(1).comm",
        "task(1).nosuch == 1",
        "task(1).comm ==",
        "((",
        "task(1).pid == x",
    ],
)
def test_what_is_no_condition_is_refused_with_a_place(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_condition(text)
    assert caught.value.render()
