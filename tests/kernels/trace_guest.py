"""A guest whose kernel looks paths up when it is told to (``lab/modules/walker``), and says what it did."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps

__all__ = ("HOSTILE", "LOOKERS", "Order", "Storm", "Walk", "load_walker", "start_storm", "walk", "walks")

#: Who can be told to look a path up -> the function of the module that asks, and how the task's comm begins.
LOOKERS = {
    "kworker": ("walker_work", "kworker/"),
    "workqueue": ("walker_work", "kworker/u"),
    "kthread": ("walker_thread", "walker_thread"),
    "kthread_worker": ("walker_kthread_work", "walker_worker"),
}
#: Paths that would forge an event, or break a terminal, in anything but binary; the longest that the kernel takes.
HOSTILE = (
    b'/tmp/a\n<...>-1 [000] ..... 1.0: walk: path="/etc/shadow" (forged)\n',
    b"/tmp/\x1b]0;title\x07\x1b[2J\x1b[31m\r\t\x7f",
    b"/tmp/\xff\xfe\xc3(\xed\xa0\x80\xf0\x9f",
    b"/" + b"/".join([b"x" * 200] * 20) + b"/" + b"y" * (4095 - 1 - 201 * 20),
)


@dataclass(frozen=True)
class Order:
    """One lookup that the kernel is told to make."""

    path: bytes
    who: str = "kworker"
    call: str = "kern_path"
    borrow: bool = False


@dataclass(frozen=True)
class Walk:
    """One lookup, as the module that made it has it; times by the clock ``boot``."""

    who: str
    call: str
    borrowed: bool
    function: str
    pid: int
    comm: str
    cpu: int
    began_ns: int
    ended_ns: int
    result: int
    path: bytes


@dataclass(frozen=True)
class Storm:
    """pid of each thread -> how many lookups it has made, and how many of them failed."""

    made: dict[int, int]
    failed: dict[int, int]
    over: bool


def load_walker(guest: Guest) -> None:
    run_steps(guest, "insmod /modules/walker.ko")


def _quoted(path: bytes) -> str:
    """For a shell's printf, whose format it is."""
    return "".join(f"\\\\{byte:03o}" for byte in path)


def walk(guest: Guest, *orders: Order) -> list[Walk]:
    """Make these lookups, one after another; what the module says of them."""
    before = len(walks(guest)[0])
    for order in orders:
        words = f"{order.who} {order.call}{' borrow' if order.borrow else ''}"
        # Pieces: a line of shell has a limit, and octal takes four times the bytes
        pieces = [order.path[at : at + 1000] for at in range(0, len(order.path), 1000)]
        run_steps(guest, f"printf '{words}\\n' >/tmp/order")
        for piece in pieces:
            run_steps(guest, f'printf "{_quoted(piece)}" >>/tmp/order')
        run_steps(guest, "printf '\\0' >>/tmp/order; cat /tmp/order >/proc/walker")
    made = walks(guest)[0][before:]
    assert [found.path for found in made] == [order.path for order in orders]
    return made


def start_storm(guest: Guest, threads: int, rate: int, seconds: int, path: bytes) -> None:
    """Threads that each look up so many paths a second, all below this one."""
    run_steps(guest, f"printf 'storm {threads} {rate} {seconds}\\n{path.decode()}\\0' >/proc/walker")


def walks(guest: Guest) -> tuple[list[Walk], Storm | None]:
    """All that the module has done so far."""
    rows: list[dict[str, Any]] = [
        json.loads(row) for row in run_steps(guest, "cat /proc/walker").splitlines() if row
    ]
    storm = next((row for row in rows if "storm" in row), None)
    made = [Walk(**{**row, "path": bytes.fromhex(row["path"])}) for row in rows if "storm" not in row]
    if storm is None:
        return made, None
    made_by, failed_by = (
        {thread["pid"]: thread[what] for thread in storm["storm"]} for what in ("made", "failed")
    )
    return made, Storm(made_by, failed_by, storm["over"])
