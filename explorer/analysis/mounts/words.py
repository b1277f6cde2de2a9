"""What a mount's flags and its place are called.

Mirrors ``mnt_flags`` (include/linux/mount.h), and the optional fields of ``show_mountinfo()`` (fs/proc_namespace.c).
"""

from __future__ import annotations

from explorer.model import MNT_NAMES, Attachment, Mount, Snapshot, hex_address, known

__all__ = ("flag_names", "option_words", "propagation_words", "where_words")


def flag_names(flags: int) -> list[str]:
    """``MNT_RELATIME``, ``MNT_LOCKED``: every bit that is set; what has no name is one hexadecimal number."""
    names = [name for bit, name in MNT_NAMES.items() if flags & bit]
    rest = flags & ~sum(MNT_NAMES)
    return [*names, hex_address(rest)] if rest else names


def option_words(mount: Mount) -> str | None:
    """As mountinfo has them: ``rw,nosuid``; ``None`` if they are not known."""
    return None if mount.options is None else ",".join(mount.options)


def propagation_words(mount: Mount) -> str | None:
    """As mountinfo has it: ``shared:1 master:2``; ``None`` if that is not known."""
    if mount.unbindable is None:
        return None
    named = (("shared", mount.shared), ("master", mount.master), ("propagate_from", mount.propagate_from))
    words = [f"{name}:{group}" for name, group in named if group is not None]
    return " ".join([*words, "unbindable"] if mount.unbindable else words) or "private"


def where_words(mount: Mount, snapshot: Snapshot) -> str:
    """The inode number of its namespace; of a mount that is in none, what it hangs on: ``detached``."""
    if mount.attachment is None:
        return "?"
    if mount.attachment is not Attachment.NAMESPACE:
        return mount.attachment.value
    namespace = snapshot.namespace_by_address.get(mount.mnt_ns or 0)
    return "?" if namespace is None else known(namespace.inum)
