"""For each address the drgn expression that shows it, ready to be pasted into a drgn session on the same kernel."""

from __future__ import annotations

from explorer.model import Kernel, Reference, global_fs, hex_address

__all__ = ("drgn_expression", "drgn_object")

_TYPES = {
    "task": "struct task_struct",
    "fs_struct": "struct fs_struct",
    "mount": "struct mount",
    "mount_namespace": "struct mnt_namespace",
    "workqueue": "struct workqueue_struct",
    "usermodehelper": "struct subprocess_info",
}


def drgn_object(type_name: str, address: int) -> str:
    """``Object(prog, "struct dentry *", 0x…)``."""
    return f'Object(prog, "{type_name} *", {hex_address(address)})'


def drgn_expression(reference: Reference, kernel: Kernel) -> str | None:
    """The expression for an object; by its global name where it has one. ``None``: it is no object in memory."""
    type_name = _TYPES.get(reference.kind)
    if type_name is None or reference.address is None:
        return None
    if reference.kind == "fs_struct" and (name := global_fs(kernel).get(reference.address)) is not None:
        return f'prog["{name}"]'
    return drgn_object(type_name, reference.address)
