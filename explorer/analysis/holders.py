"""Who holds a mount or a namespace, in words; and which mount is meant by a word. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from explorer.model import (
    Holder,
    HolderKind,
    HolderUse,
    KernelText,
    Mount,
    MountHolders,
    MountNamespace,
    Snapshot,
    Task,
    mount_name,
)
from explorer.naming import count, join_names, name_tasks

__all__ = (
    "UNEXPLAINED",
    "MountNotFoundError",
    "find_mount",
    "holder_tasks",
    "holder_words",
    "list_holders",
    "namespace_keepers",
    "unexplained_words",
    "use_words",
)

#: What holds a mount, and is not looked for.
UNEXPLAINED = (
    "What else holds a mount: a system call at work, a descriptor on its way through a socket (SCM_RIGHTS), files that "
    "io_uring registered, a loop device or a swap file on it, an export, a kernel module."
)
#: mnt_id_unique begins above what mnt_id can be (include/linux/mount.h, 6.8).
_FIRST_UNIQUE = 1 << 31
_MOST_LISTED = 5
_NOUNS = {
    HolderKind.ROOT: "the root of",
    HolderKind.PWD: "the working directory of",
    HolderKind.BACKING_FILE: "a backing file of",
    HolderKind.SOCKET: "a socket of",
    HolderKind.MOUNT_TABLE: "a mount table opened by",
    HolderKind.WALK: "a path walk of",
}
_PLURALS = {
    HolderKind.ROOT: "roots of",
    HolderKind.PWD: "working directories of",
    HolderKind.BACKING_FILE: "backing files of",
    HolderKind.SOCKET: "sockets of",
    HolderKind.MOUNT_TABLE: "mount tables opened by",
    HolderKind.WALK: "path walks of",
}


class MountNotFoundError(LookupError):
    """No mount, or more than one, is meant; the message says so, for the user."""


def find_mount(text: str, snapshot: Snapshot) -> Mount:
    """The mount that a user means: by ``mnt_id``, by address (``0x…``), or by where it is mounted.

    A path means the topmost mount there, in init's namespace if there is one.

    :raises MountNotFoundError: if there is none, or more than one
    """
    mounts = snapshot.mounts
    if text.startswith("/"):
        found = [mount for mount in mounts if mount.mountpoint == text and mount.overmount is None]
        own = [mount for mount in found if mount.mnt_ns == snapshot.kernel.init_mnt_ns]
        found = own or found
    elif text.startswith("0x"):
        try:
            address = int(text, 16)
        except ValueError:
            raise MountNotFoundError(f"{text} is no address") from None
        found = [mount for mount in mounts if mount.address == address]
    elif text.isascii() and text.isdecimal() and len(text) <= 20:
        number = int(text)
        found = [mount for mount in mounts if number in (mount.id, _unique(mount, number))]
    else:
        raise MountNotFoundError(
            f"{text} is neither an id as in mountinfo, nor an address (0x…), nor a path (/…)"
        )
    if not found:
        raise MountNotFoundError(f"there is no mount {text}")
    if len(found) > 1:
        ids = [str(mount.id) for mount in found[:_MOST_LISTED]]
        more = [f"{len(found) - len(ids)} more"] if len(found) > len(ids) else []
        raise MountNotFoundError(
            f"{len(found)} mounts are called {text}: name one by its id, {join_names([*ids, *more])}"
        )
    return found[0]


def _unique(mount: Mount, number: int) -> int | None:
    return mount.unique_id if number >= _FIRST_UNIQUE else None


def holder_tasks(holder: Holder, snapshot: Snapshot) -> list[Task]:
    """The tasks by which a holder was found, each once, in their order."""
    found = (snapshot.task_by_address.get(use.task) for use in holder.uses)
    return list({task.address: task for task in found if task is not None}.values())


def holder_words(holder: Holder, snapshot: Snapshot) -> KernelText:
    """One holder: ``an open file of a (1)``."""
    return _words([holder], snapshot)


def use_words(holder: Holder, use: HolderUse) -> str:
    """How a task has it: ``fd 3``, ``exe``; with what the descriptor is of, if that is not a file there."""
    how = use.how if use.fd is None else f"{use.how} {use.fd}"
    is_said = holder.kind.value in (use.how, HolderKind.FILE.value)
    return how if is_said else f"{how}, {holder.kind.value}"


def list_holders(holders: Iterable[Holder], snapshot: Snapshot, *, by_task: bool = True) -> list[KernelText]:
    """All holders, alike ones together: ``2 open files of a (1)``, ``the working directory of b (2)``.

    :param by_task: those of different tasks are not alike; else ``3 open files of a (1) and b (2)``
    """
    groups: dict[tuple[object, ...], list[Holder]] = {}
    for holder in holders:
        tasks = tuple(task.address for task in holder_tasks(holder, snapshot)) if by_task else ()
        groups.setdefault((holder.kind, _how(holder), tasks), []).append(holder)
    return [_words(group, snapshot) for group in groups.values()]


def _how(holder: Holder) -> str:
    """How a file is held, by what says most of it."""
    hows = {use.how for use in holder.uses}
    return next((how for how in ("exe", "fd", "map") if how in hows), "")


def _words(alike: Sequence[Holder], snapshot: Snapshot) -> KernelText:
    holder, number = alike[0], len(alike)
    kind = holder.kind
    if kind is HolderKind.MOUNT:
        return f"{_mount(holder, snapshot)} mounted on it" if number == 1 else f"{number} mounts on it"
    if kind is HolderKind.PARENT:
        return f"{_mount(holder, snapshot)}, which it was unmounted with"
    if kind is HolderKind.NAMESPACE:
        return "its mount namespace"
    if kind is HolderKind.UMOUNT:
        return "an unmount at work"
    if kind is HolderKind.KERNEL:
        return "the kernel, which made it"
    tasks = {task.address: task for each in alike for task in holder_tasks(each, snapshot)}
    who = name_tasks(list(tasks.values())) if tasks else "nobody that was found"
    more = max(each.nr_uses - len(each.uses) for each in alike)
    besides = f" and {count(more, 'more use')}" if more > 0 else ""
    return f"{_noun(kind, _how(holder), number)} {who}{besides}"


def _mount(holder: Holder, snapshot: Snapshot) -> KernelText:
    mount = snapshot.mount_by_address.get(holder.address)
    return "a mount" if mount is None else mount_name(mount)


def _noun(kind: HolderKind, how: str, number: int) -> str:
    if kind is HolderKind.FILE:
        noun = {"exe": "program run by", "fd": "open file of"}.get(how, "file mapped by")
        plural = {"exe": "programs run by", "fd": "open files of"}.get(how, "files mapped by")
        article = {"exe": "the", "fd": "an"}.get(how, "a")
        return f"{article} {noun}" if number == 1 else f"{number} {plural}"
    return _NOUNS[kind] if number == 1 else f"{number} {_PLURALS[kind]}"


def namespace_keepers(namespace: MountNamespace, snapshot: Snapshot) -> list[KernelText]:
    """What keeps a namespace that no task is in: ``the mount nsfs#9 on /run/x``, ``an open file of a (1)``.

    Empty if nothing was found, or nobody looked.
    """
    phrases: list[KernelText] = []
    for holder in namespace.holders or ():
        mount = snapshot.mount_by_address.get(holder.address)
        if holder.kind is HolderKind.MOUNT and mount is not None:
            phrases.append(f"the mount {mount_name(mount)} on {mount.mountpoint or '?'}")
        else:
            phrases += list_holders([holder], snapshot)
    return phrases


def unexplained_words(holders: MountHolders) -> str:
    """References that nobody was found for; "" if there are none, or their number is not known."""
    left = holders.unexplained or 0
    return f"{count(left, 'reference')} that nobody was found for" if left > 0 else ""
