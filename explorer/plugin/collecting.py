"""What the capture half of a plugin calls: it reads facts one by one, walks lists, hash tables and busy workers.

drgn is imported only inside functions: a plugin's audit, and the screen, work without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from explorer.model import KernelSetting, Reference, kernel_text

from .declare import PluginKernel
from .drgn_helpers import linux_helpers

if TYPE_CHECKING:
    import drgn

__all__ = (
    "BusyWorker",
    "Reading",
    "array_text",
    "for_each_busy_worker",
    "for_each_hlist_entry",
    "for_each_list_entry",
    "function_name",
    "pointer_text",
)

T = TypeVar("T")
_MAX_TEXT = 4096  # PATH_MAX
_MAX_BUCKETS = 65_536
_POINTER = 8
_MAX_ENTRIES = 10_000
_KERNEL_HALF = 1 << 63


class Reading:
    """Reads facts one by one: what cannot be read is named in ``missing``, and costs nothing else."""

    def __init__(self) -> None:
        self.missing: list[str] = []

    def get(self, what: str, read: Callable[[], T]) -> T | None:
        """What ``read`` gives, or ``None`` if memory, a symbol or a member is not there."""
        import drgn

        try:
            return read()
        except (drgn.FaultError, LookupError, AttributeError, TypeError, ValueError) as error:
            self.missing.append(f"{what}: {error}")
            return None

    def get_list(self, what: str, read: Callable[[], Iterable[T]]) -> list[T]:
        """All items up to the first that cannot be read."""
        found: list[T] = []
        self.get(what, lambda: found.extend(read()))
        return found

    def look_up(self, kernel: PluginKernel, name: str, path: str | None) -> KernelSetting | None:
        """An absolute path, as the kernel looks it up; ``None`` for no path and where nothing can be looked up."""
        if not path or not path.startswith("/"):
            return None
        raw = path.encode("utf-8", "surrogateescape")
        return self.get(f"look-up of {name}", lambda: kernel.look_up(name, raw))


def pointer_text(pointer: drgn.Object) -> str | None:
    """A ``char *``, or an array: what is before the first NUL; ``None`` for a NULL pointer.

    :raises drgn.FaultError: if it points nowhere
    """
    import drgn

    if pointer.type_.kind is drgn.TypeKind.ARRAY:
        return array_text(pointer)
    address = pointer.value_()
    if not address:
        return None
    if address < _KERNEL_HALF:
        raise ValueError(f"0x{address:x} is no kernel pointer")  # a dump may have memory at address 0
    return kernel_text(pointer.prog_.read_c_string(address, max_size=_MAX_TEXT))


def array_text(array: drgn.Object) -> str:
    """A ``char []`` of any length, flexible too: what is before the first NUL."""
    return kernel_text(array.prog_.read_c_string(array.address_, max_size=_MAX_TEXT))


def function_name(prog: drgn.Program, address: int) -> str | None:
    """The function at ``address``; ``None`` if no symbol is there."""
    try:
        return str(prog.symbol(address).name)
    except LookupError:
        return None


def for_each_list_entry(
    kernel: PluginKernel, type_name: str, head: drgn.Object, member: str
) -> Iterator[drgn.Object]:
    """Entries of a ``struct list_head``, bounded. ``head``: the head itself, not a pointer to it."""
    list_for_each_entry = linux_helpers("list").list_for_each_entry
    entries = list_for_each_entry(f"struct {type_name}", head.address_of_(), member)
    yield from kernel.bounded(entries, f"list of {type_name}", _MAX_ENTRIES)


def for_each_hlist_entry(
    kernel: PluginKernel, type_name: str, table: drgn.Object, member: str
) -> Iterator[drgn.Object]:
    """Entries of a hash table of ``struct hlist_head``: as many buckets as its symbol is long, bounded.

    ``table``: an object at the table's address, of whatever type. The buckets are read in one go.
    """
    import drgn

    hlist_for_each_entry = linux_helpers("list").hlist_for_each_entry
    prog, address = table.prog_, table.address_
    buckets = min(prog.symbol(address).size // _POINTER, _MAX_BUCKETS)
    raw = prog.read(address, buckets * _POINTER)

    def entries() -> Iterator[drgn.Object]:
        for bucket in range(buckets):
            if any(raw[bucket * _POINTER : (bucket + 1) * _POINTER]):
                head = drgn.Object(prog, "struct hlist_head", address=address + bucket * _POINTER)
                yield from hlist_for_each_entry(f"struct {type_name}", head.address_of_(), member)

    yield from kernel.bounded(entries(), f"hash table of {type_name}", _MAX_ENTRIES)


class BusyWorker(NamedTuple):
    """A kworker that runs a work item."""

    task: Reference
    func: str | None
    work: int
    """Address of the ``struct work_struct``."""


def for_each_busy_worker(kernel: PluginKernel, func: str) -> Iterator[BusyWorker]:
    """The kworkers that run ``func`` now: a worker is in its pool's ``busy_hash`` exactly while it works.

    Mirrors ``print_worker_info()`` and ``process_one_work()`` of kernel/workqueue.c.
    """
    hlist_for_each_entry = linux_helpers("list").hlist_for_each_entry
    idr = kernel.variable("", "worker_pool_idr", "struct idr")
    for pool in kernel.for_each_idr_entry(idr, "worker pools", "struct worker_pool *"):
        heads = pool.busy_hash.read_()
        for index in range(len(heads)):
            if not heads[index].first.value_():
                continue
            workers = hlist_for_each_entry("struct worker", pool.busy_hash[index].address_of_(), "hentry")
            for worker in kernel.bounded(workers, "busy workers"):
                name = function_name(kernel.prog, worker.current_func.value_())
                if name == func:
                    yield BusyWorker(kernel.task_ref(worker.task), name, worker.current_work.value_())
