"""From a reference to everything that a snapshot knows of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from explorer.analysis import expected_users, lost_tasks, task_count
from explorer.analysis.mounts import flag_names, option_words, propagation_words
from explorer.analysis.query import DETAIL_FACTS
from explorer.model import (
    PF_NAMES,
    FsStruct,
    Mount,
    MountNamespace,
    OnlyIn,
    Owner,
    Reference,
    Snapshot,
    Task,
    escape_text,
    fs_name,
    hex_address,
    known,
    mount_name,
    mount_reference,
    namespace_reference,
    task_reference,
)
from explorer.naming import count, moments, runs_label
from explorer.wire import PROGRAM

from .expressions import drgn_expression, drgn_object
from .facts import FOUND_WORDS, Detail, Fact, group_reference
from .holders import add_books, add_holders
from .namespaces import add_namespace
from .nested import nested_facts

__all__ = ("describe", "row_text")

_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "uninterruptible",
    "T": "stopped",
    "t": "traced",
    "X": "dead",
    "Z": "zombie",
    "P": "parked",
    "I": "idle",
}
_MAX_FACTS = 2000


def describe(reference: Reference, snapshot: Snapshot) -> Detail:
    """Everything about an object. One that the snapshot does not hold says so."""
    detail = Detail(reference, escape_text(f"{reference.kind} {reference.label}"))
    detail.expression = drgn_expression(reference, snapshot.kernel)
    found = _find(reference, snapshot)
    if found is None:
        detail.found = False
        if reference.address is not None:
            detail.facts.append(Fact("address", hex_address(reference.address)))
        detail.facts.append(Fact("", "not in this snapshot", tone="warn"))
        return detail
    _DESCRIBERS[reference.kind](detail, found, snapshot)
    return detail


def _find(reference: Reference, snapshot: Snapshot) -> Any:
    address = reference.address
    match reference.kind:
        case "task":
            return snapshot.task_by_address.get(address or 0)
        case "fs_struct":
            return snapshot.fs_by_address.get(address or 0)
        case "mount":
            return snapshot.mount_by_address.get(address or 0)
        case "mount_namespace":
            return snapshot.namespace_by_address.get(address or 0)
        case "workqueue":
            return next((queue for queue in snapshot.workqueues if queue.address == address), None)
        case "usermodehelper":
            return next((helper for helper in snapshot.usermodehelpers if helper.address == address), None)
        case "setting":
            return next((item for item in snapshot.settings if item.name == reference.label), None)
        case "plugin":
            return snapshot.plugins.get(reference.label)
        case "kernel":
            return snapshot.kernel


def _namespace_link(detail: Detail, name: str, address: int | None, snapshot: Snapshot) -> None:
    namespace = snapshot.namespace_by_address.get(address or 0)
    detail.add_address(name, address, None if namespace is None else namespace_reference(namespace))


def _mount_link(detail: Detail, name: str, address: int | None, snapshot: Snapshot) -> None:
    mount = snapshot.mount_by_address.get(address or 0)
    detail.add_address(name, address, None if mount is None else mount_reference(mount))


def _flag_names(flags: int) -> str:
    names = " ".join(name for name, bit in PF_NAMES.items() if flags & bit)
    return f"{hex_address(flags)}  {names}".rstrip()


_ONLY_IN = {
    OnlyIn.TASK_LIST: "the list of tasks: the table of pids, and so /proc, has it not",
    OnlyIn.PID_TABLE: "the table of pids: the list of tasks has it not",
}


def _task(detail: Detail, task: Task, snapshot: Snapshot) -> None:
    detail.title = escape_text(f"task {task.pid}  {task.name}")
    if task.fs == task.real_fs:
        detail.add_fs("fs = real_fs", task.fs, snapshot)
    else:
        detail.add_fs("fs", task.fs, snapshot)
        detail.add_fs("real_fs", task.real_fs, snapshot)
    if task.borrowing:
        detail.add("borrowing", "yes: it looks paths up through userspace_init_fs now", tone="warn")
    if task.only_in is not None:
        detail.add("only in", _ONLY_IN[task.only_in], tone="warn")
    if task.owned_fs is None:
        detail.add("fs", "none: it has exited" if task.owner is Owner.NONE else "?")
    fs = snapshot.fs_of(task)
    if fs is not None:
        detail.add_path("root", fs.root, snapshot, is_root=True, of_task=True)
        detail.add_path("pwd", fs.pwd, snapshot, fs.root, of_task=True)
    runs = runs_label(task, snapshot)
    if runs:
        detail.facts.append(Fact("runs", runs))
    _walk(detail, task, snapshot)
    detail.add("address", hex_address(task.address))
    detail.add_dentries()
    detail.add("comm", task.comm_word or '""')
    detail.add("pid tgid ppid", " ".join(known(value) for value in (task.pid, task.tgid, task.ppid)))
    for name, fact in DETAIL_FACTS.items():
        special = _SPECIAL_FACTS.get(name)
        if special is None:
            detail.add_text(name, fact.text(task, snapshot))
        else:
            special(detail, task, snapshot)
    for frame in task.stack or ():
        mark = "  ◀ opens the borrow" if frame.opens_scope else ""
        detail.add("stack", f"{frame.function}  {frame.source or ''}{mark}".rstrip())


def _walk(detail: Detail, task: Task, snapshot: Snapshot) -> None:
    if task.walk is None:
        return
    detail.add("walking", task.walk.path or "?", tone="warn")
    detail.add_path("nd->root", task.walk.root, snapshot, is_root=True)
    detail.add_path("nd->path", task.walk.start, snapshot, task.walk.root)


def _state(detail: Detail, task: Task, snapshot: Snapshot) -> None:
    detail.add("state", f"{known(task.state)}  {_STATES.get(task.state or '', '')}".rstrip())


def _flags(detail: Detail, task: Task, snapshot: Snapshot) -> None:
    detail.add("flags", None if task.flags is None else _flag_names(task.flags))


def _mnt_ns(detail: Detail, task: Task, snapshot: Snapshot) -> None:
    _namespace_link(detail, "mnt_ns", task.mnt_ns, snapshot)


def _served_queue(detail: Detail, task: Task, snapshot: Snapshot) -> None:
    name = None if task.kthread is None else task.kthread.workqueue
    queue = next((queue for queue in snapshot.workqueues if queue.name == name), None)
    target = None
    if queue is not None:
        target = Reference(kind="workqueue", address=queue.address, label=queue.name)
    detail.add("workqueue", name, target)


#: Facts of which a detail says more than their value, or where they lead.
_SPECIAL_FACTS: dict[str, Callable[[Detail, Task, Snapshot], None]] = {
    "state": _state,
    "flags": _flags,
    "mnt_ns": _mnt_ns,
    "workqueue": _served_queue,
}


def _fs(detail: Detail, fs: FsStruct, snapshot: Snapshot) -> None:
    detail.title = f"fs_struct {fs_name(fs.address, snapshot.kernel)}"
    detail.add("users", *_books(fs, snapshot))
    detail.add_path("root", fs.root, snapshot, is_root=True)
    detail.add_path("pwd", fs.pwd, snapshot, fs.root)
    detail.add("umask", fs.umask)
    detail.add("in_exec", fs.in_exec)
    detail.add("seq", fs.seq)
    if fs.unstable:
        detail.add(
            "unstable", "it changed while it was read: root and pwd may not belong together", tone="warn"
        )
    detail.add("address", hex_address(fs.address))
    detail.add_dentries()
    detail.add_tasks("held by", snapshot.sharers_by_fs.get(fs.address, []))


def _books(fs: FsStruct, snapshot: Snapshot) -> tuple[str, None, str]:
    expected = expected_users(fs, snapshot)
    pointer = " + the global pointer" if expected != fs.sharers else ""
    found = f"{fs.sharers} holder{'' if fs.sharers == 1 else 's'}{pointer}"
    if fs.users is None:
        return f"not readable; {found} found", None, "warn"
    if fs.users == expected:
        return f"{fs.users} = {found}", None, ""
    return f"{fs.users} ≠ {found}: the books do not balance", None, "bad"


def _mount(detail: Detail, mount: Mount, snapshot: Snapshot) -> None:
    detail.title = escape_text(f"mount {mount_name(mount)}")
    detail.add("mountpoint", mount.mountpoint)
    detail.add("attachment", None if mount.attachment is None else mount.attachment.value)
    if mount.holders is not None:
        add_books(detail, mount.holders)
        add_holders(detail, mount.holders.holders, snapshot)
    _mount_link(detail, "mnt_parent", mount.parent, snapshot)
    _mount_link(detail, "overmount", mount.overmount, snapshot)
    _namespace_link(detail, "mnt_ns", mount.mnt_ns, snapshot)
    detail.add("fstype", mount.fstype)
    detail.add("source", mount.source)
    detail.add("mnt_id", known(mount.id) + ("" if mount.unique_id is None else f"  unique {mount.unique_id}"))
    if mount.flags is not None:
        detail.add(
            "mnt_flags", "  ".join([hex_address(mount.flags), " ".join(flag_names(mount.flags))]).rstrip()
        )
    detail.add("options", option_words(mount))
    detail.add("propagation", propagation_words(mount))
    detail.add("mnt_root", mount.root)
    detail.add("s_dev", mount.dev)
    if mount.superblock is not None:
        detail.add("superblock", drgn_object("struct super_block", mount.superblock))
    detail.add("s_magic", None if mount.magic is None else hex_address(mount.magic))
    detail.add("address", hex_address(mount.address))
    if mount.holders is None:
        for name, which in (("root of", "root"), ("pwd of", "pwd")):
            detail.add_tasks(name, _on_mount(mount, which, snapshot))
        detail.add("held by", f"not read: {PROGRAM} holders TARGET {known(mount.id)} does", tone="muted")


def _on_mount(mount: Mount, which: str, snapshot: Snapshot) -> list[Task]:
    tasks: list[Task] = []
    for fs in snapshot.fs_structs:
        path = getattr(fs, which)
        if path is not None and path.mount == mount.address:
            tasks += snapshot.sharers_by_fs.get(fs.address, [])
    return tasks


def _namespace(detail: Detail, namespace: MountNamespace, snapshot: Snapshot) -> None:
    detail.title = f"mount namespace {known(namespace.inum)}"
    add_namespace(detail, namespace, snapshot)


def _workqueue(detail: Detail, queue: Any, snapshot: Snapshot) -> None:
    detail.title = escape_text(f"workqueue {queue.name}")
    detail.add("flags", hex_address(queue.flags))
    for name in ("running", "pending", "inactive"):
        for work in getattr(queue, name)[:_MAX_FACTS]:
            worker = snapshot.task_by_address.get(work.worker or 0)
            target = None
            if worker is not None:
                target = task_reference(worker)
            detail.add(name, f"{work.func}" + (f"  in {target.label}" if target else ""), target)


def _helper(detail: Detail, helper: Any, snapshot: Snapshot) -> None:
    _flat(detail, helper.model_dump(mode="json"), snapshot)


def _setting(detail: Detail, setting: Any, snapshot: Snapshot) -> None:
    detail.add("value", setting.value if setting.value != "" else '""')
    detail.add("path", setting.path)
    detail.add("found", FOUND_WORDS[setting.found])
    detail.add_path("target", setting.target, snapshot)
    if setting.init_found is not None:
        detail.add("for PID 1", FOUND_WORDS[setting.init_found])
        detail.add_path("its target", setting.init_target, snapshot)
    detail.add_dentries()


def _plugin(detail: Detail, facts: Any, snapshot: Snapshot) -> None:
    detail.title = escape_text(f"plugin {detail.reference.label}")
    _flat(detail, facts, snapshot)


def _flat(detail: Detail, facts: Any, snapshot: Snapshot) -> None:
    detail.facts += nested_facts(facts, snapshot, partial(_object_at, snapshot), _MAX_FACTS)


def _object_at(snapshot: Snapshot, address: int) -> Reference | None:
    """What has its address, of all that there is a way to. Asked at every move of a cursor: nothing is made for it."""
    task = snapshot.task_by_address.get(address)
    if task is not None:
        return task_reference(task)
    fs = snapshot.fs_by_address.get(address)
    if fs is not None:
        return group_reference(fs, snapshot)
    mount = snapshot.mount_by_address.get(address)
    if mount is not None:
        return mount_reference(mount)
    namespace = snapshot.namespace_by_address.get(address)
    return None if namespace is None else namespace_reference(namespace)


def _kernel(detail: Detail, kernel: Any, snapshot: Snapshot) -> None:
    capture = snapshot.capture
    detail.title = escape_text(f"Linux {kernel.release}")
    detail.add("generation", kernel.generation.value)
    detail.add_fs("init_fs", kernel.init_fs, snapshot)
    detail.add_fs("userspace_init…", kernel.userspace_init_fs, snapshot)
    _mount_link(detail, "knullfs", kernel.knullfs, snapshot)
    _namespace_link(detail, "init_mnt_ns", kernel.init_mnt_ns, snapshot)
    detail.add("build id", kernel.build_id)
    detail.add("booted", kernel.boot_time)
    detail.add("cmdline", kernel.cmdline)
    detail.add("target", f"{capture.source.target} ({capture.source.kind})")
    *stopped, (read, when) = moments(capture)
    for what, moment in stopped:
        detail.add(what, f"{moment}, by its own clock")
    detail.add(read, f"{when}, in {capture.duration_s:.3f} s, by version {capture.tool_version}")
    detail.add("types", capture.types.upper())
    detail.add("consistent", "yes" if capture.consistent else "no: the kernel ran while it was read")
    for note in capture.notes:
        detail.add("note", note)
    if capture.missing_memory is not None:
        detail.add("missing", capture.missing_memory, tone="warn")
    if capture.not_in_slice:
        lacking = f"{count(capture.not_in_slice, 'value')} that nobody read when it was made"
        detail.add("not in the slice", lacking)
    lost = lost_tasks(snapshot)
    if lost is not None:
        detail.add("tasks", f"{task_count(snapshot)}: {lost}", tone="warn")
    for error in snapshot.errors[:_MAX_FACTS]:
        detail.add("not readable", f"{error.where}: {error.what}: {error.why}", tone="warn")
    for setting in snapshot.settings:
        target = Reference(kind="setting", address=None, label=setting.name)
        words = FOUND_WORDS[setting.found]
        if setting.init_found is not None:
            words += f"; for PID 1 {FOUND_WORDS[setting.init_found]}"
        detail.add(setting.name, f"{setting.value}  ({words})", target)
    for line in snapshot.log[:_MAX_FACTS]:
        detail.add("log", line)


_DESCRIBERS: dict[str, Callable[[Detail, Any, Snapshot], None]] = {
    "task": _task,
    "fs_struct": _fs,
    "mount": _mount,
    "mount_namespace": _namespace,
    "workqueue": _workqueue,
    "usermodehelper": _helper,
    "setting": _setting,
    "plugin": _plugin,
    "kernel": _kernel,
}


def row_text(cells: Sequence[str]) -> str:
    """A row of a table as one line of text, for copying."""
    return "  ".join(cell.strip() for cell in cells if cell.strip())
