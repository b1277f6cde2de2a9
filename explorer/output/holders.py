"""Who holds a mount, as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

from explorer.analysis import UNEXPLAINED, holder_tasks, holder_words, unexplained_words, use_words
from explorer.model import (
    Holder,
    Mount,
    MountHolders,
    Snapshot,
    escape_text,
    hex_address,
    known,
    mount_name,
    task_name,
)
from explorer.naming import count

from .table import Table, TableColumn

__all__ = ("holders_json", "holders_table", "render_books")

_COLUMNS = (
    TableColumn("HELD BY", least=10),
    TableColumn("HOW"),
    TableColumn("PATH", least=10),
    TableColumn("ADDRESS", rank=1),
)


def render_books(mount: Mount, holders: MountHolders, name: str) -> list[str]:
    """What is asked about, and whether the holders are all of its references; escaped sentences.

    :param name: of the target
    """
    source = "" if mount.source is None else f", {mount.source}"
    place = "" if mount.mountpoint is None else f" on {mount.mountpoint}"
    attached = "" if mount.attachment is None else f", {mount.attachment}"
    lines = [f"{mount_name(mount)}{place}{source}{attached}, {name}"]
    found, left = count(len(holders.holders), "holder"), unexplained_words(holders)
    if holders.count is None:
        lines.append(f"{found} found; how many references it has could not be read.")
    elif left:
        lines.append(f"{count(holders.count, 'reference')}: {found} found, and {left}. {UNEXPLAINED}")
    elif holders.count < len(holders.holders):
        lines.append(
            f"Only {count(holders.count, 'reference')}, but {found} found: the books do not balance."
        )
    else:
        lines.append(f"{count(holders.count, 'reference')}, all of them found.")
    if holders.missing is not None:
        lines.append(f"There may be more: {holders.missing}.")
    return [escape_text(line) for line in lines]


def holders_table(holders: MountHolders, snapshot: Snapshot) -> Table:
    """A row for every task by which a reference was found; for one without tasks a row of its own."""
    rows: list[list[str]] = []
    for holder in holders.holders:
        rows += _rows(holder, snapshot)
    return Table(_COLUMNS, rows)


def _rows(holder: Holder, snapshot: Snapshot) -> list[list[str]]:
    tail = [escape_text(holder.path or ""), hex_address(holder.address)]
    if not holder_tasks(holder, snapshot):
        return [[escape_text(holder_words(holder, snapshot)), holder.kind.value, *tail]]
    rows = []
    for use in holder.uses:
        task = snapshot.task_by_address.get(use.task)
        who = hex_address(use.task) if task is None else task_name(task)
        rows.append([escape_text(who), use_words(holder, use), *tail])
    if holder.nr_uses > len(holder.uses):
        rows.append([f"and {holder.nr_uses - len(holder.uses)} more", holder.kind.value, *tail])
    return rows


def holders_json(mount: Mount, holders: MountHolders, snapshot: Snapshot) -> str:
    """``{"mount": …, "count": …, "unexplained": …, "holders": …, "tasks": …}``: ASCII, kernel text lossless."""
    tasks = {task.address: task for holder in holders.holders for task in holder_tasks(holder, snapshot)}
    document: dict[str, Any] = {
        "capture": snapshot.capture.model_dump(mode="json"),
        "mount": mount.model_dump(mode="json", exclude={"holders"}),
        "count": holders.count,
        "unexplained": holders.unexplained,
        "missing": holders.missing,
        "holders": [holder.model_dump(mode="json") for holder in holders.holders],
        "tasks": [
            {
                "address": hex_address(task.address),
                "pid": task.pid,
                "tgid": task.tgid,
                "comm": known(task.comm),
            }
            for task in tasks.values()
        ],
    }
    return json.dumps(document, ensure_ascii=True, indent=2)
