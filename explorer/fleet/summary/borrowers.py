"""Which function, and which module, is behind the borrowers of a fleet."""

from __future__ import annotations

from typing import Any

from explorer.fleet.needed import need

from .arrow import rows_of
from .shapes import Behind, Borrowing

__all__ = ("OF_TASKS", "borrowing_of")

#: The columns of ``tasks`` that are asked for, of those that borrow.
OF_TASKS = ("key", "borrow_function", "borrow_module", "is_kernel_thread")
_MOST_FUNCTIONS = 20
#: What stands for a module, and for what is not known; a task of userspace borrows inside a system call.
_KERNEL, _USERSPACE, _UNKNOWN = "vmlinux", "userspace", "?"


def borrowing_of(tasks: Any) -> Borrowing:
    """:param tasks: the borrowers, with the columns :data:`OF_TASKS`"""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    functions = pc.fill_null(tasks["borrow_function"], _UNKNOWN)
    unknown = pc.is_null(tasks["borrow_function"])
    of_users = pc.equal(pc.fill_null(tasks["is_kernel_thread"], True), False)
    nobody = pc.if_else(of_users, _USERSPACE, _UNKNOWN)
    modules = pc.if_else(unknown, nobody, pc.fill_null(tasks["borrow_module"], _KERNEL))
    table = pa.table({"key": tasks["key"], "module": modules, "function": functions})
    by_function = _ranked(table, ("module", "function"))
    return Borrowing(
        table.num_rows,
        len(pc.unique(table["key"])),
        tuple(_ranked(table, ("module",))),
        tuple(by_function[:_MOST_FUNCTIONS]),
        max(0, len(by_function) - _MOST_FUNCTIONS),
    )


def _ranked(table: Any, by: tuple[str, ...]) -> list[Behind]:
    """Most borrowers first."""
    counted = table.group_by(list(by)).aggregate([("key", "count"), ("key", "count_distinct")])
    rows = rows_of(counted)
    rows.sort(key=lambda row: (-row["key_count"], *(row[name] for name in by)))
    found, so_far = [], 0
    for row in rows:
        so_far += row["key_count"]
        found.append(
            Behind(
                row.get("function"),
                row["module"],
                row["key_count"],
                row["key_count_distinct"],
                row["key_count"] / table.num_rows,
                so_far / table.num_rows,
            )
        )
    return found
