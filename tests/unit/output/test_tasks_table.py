"""The tables of ``tasks``: who is meant, what is shortened, and what someone is doing."""

from __future__ import annotations

from explorer.model import Owner, Snapshot, Walk
from explorer.naming import name_label, runs_label
from explorer.output.table import fit_address, fit_middle
from explorer.output.tasks import worlds_table


def test_an_exited_task_is_named_with_its_pid_and_said_to_have_exited(isolated: Snapshot) -> None:
    exited = [task for task in isolated.tasks if task.owner is Owner.NONE]
    who = worlds_table(isolated, lambda task: task is exited[0]).rows[-1][-1]
    assert who == f"{name_label(exited[0])} ({exited[0].pid}), exited"


def test_an_address_is_shortened_and_a_path_keeps_its_end() -> None:
    assert fit_address("0xffff8d8b4274c5c0", 17) == "…4274c5c0"
    assert fit_address("0xffff8d8b4274c5c0", 18) == "0xffff8d8b4274c5c0"
    folded = fit_middle("rootfs#2:/" + "p" * 4000 + "/end", 30)
    assert len(folded) == 30 and folded.startswith("rootfs#2:/") and folded.endswith("/end")


def test_runs_says_which_path_is_walked_where_and_for_how_long(isolated: Snapshot) -> None:
    task = next(task for task in isolated.tasks if task.pid == 1)
    fs = isolated.fs_of(task)
    assert fs is not None
    task.walk = Walk(path="/f/core", root=None, start=fs.root, in_init=False)
    task.waiting_s, task.borrowing = 12.0, False
    assert runs_label(task, isolated).startswith("walking /f/core (")
    assert runs_label(task, isolated).endswith("), 12 s")
    task.borrowing = True
    assert runs_label(task, isolated).startswith("▶ borrowing, walking /f/core (")
