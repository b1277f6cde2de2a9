"""Judge a kernel module by the symbols it takes: does it look up paths, and does it borrow init's fs to do so?

Symbols do not say in whose context a function is called, nor do they show inlined code that uses ``current->fs``;
``init_fs`` is not exported at all. So a verdict is about what the module can do, not about every call.
"""

from __future__ import annotations

import re

from explorer.model import ModuleFile, ModuleReport, ModuleVerdict

__all__ = ("ANCHORED", "CAVEAT", "judge_module")

CAVEAT = (
    "Symbols do not tell in which task a lookup is made, nor which of several lookups is covered by a borrow; "
    "inlined uses of current->fs do not show."
)

#: Start at the calling task's root or pwd (fs/namei.c, fs/open.c, block/bdev.c, fs/kernel_read_file.c), 6.1 to 7.3.
_LOOKUPS = frozenset(
    {
        "bdev_file_open_by_path",
        "bdev_open_by_path",
        "blkdev_get_by_path",
        "do_filp_open",
        "file_open_name",
        "filp_open",
        "fs_bdev_file_open_by_path",
        "kern_path",
        "kern_path_create",
        "kern_path_locked",
        "kern_path_parent",
        "kernel_read_file_from_path",
        "lookup_bdev",
        "open_exec",
        "start_creating_path",
        "start_removing_path",
    }
)
#: Are given the directory that is their root: ``nd->root`` is preset.
ANCHORED = frozenset({"file_open_root", "vfs_path_lookup", "vfs_path_parent_lookup"})
#: Take a name from user memory.
_SYSTEM_CALL = frozenset(
    {"start_creating_user_path", "start_removing_user_path_at", "user_path_at", "user_path_at_empty",
     "user_path_create"}
)  # fmt: skip
#: Look up from init's root by themselves: the firmware loader, usermodehelpers, request_module().
_DELEGATED = re.compile(
    r"request_firmware\w*|request_partial_firmware\w*|firmware_request_\w+|call_usermodehelper\w*|__request_module"
    r"|kernel_read_file_from_path_initns"
)
#: ``scoped_with_init_fs()`` is inline: this variable is what is left of it.
_BORROWS = frozenset({"userspace_init_fs", "kernel_read_file_from_path_initns"})
_KTHREADS = re.compile(r"_*kthread_(create|run)\w*")
_WORK = re.compile(
    r"_*alloc_(ordered_)?workqueue\w*|_*queue_(delayed_)?work(_on|_node)?|mod_delayed_work_on|queue_rcu_work"
    r"|schedule_(delayed_)?work\w*"
)

_MEANINGS = {
    ModuleVerdict.NONE: "does no path lookups",
    ModuleVerdict.SAFE: "does path lookups only where the root of its own task does not matter",
    ModuleVerdict.BORROWS: "looks up paths, and borrows init's fs",
    ModuleVerdict.EXPOSED: "looks up paths and never borrows: in a kernel thread of 7.3 they end in ENOENT",
}
_BORROWS_ONLY = "borrows init's fs, for lookups that its symbols do not show"


def judge_module(module: ModuleFile) -> ModuleReport:
    """What the module's undefined symbols say."""
    lookups = [name for name in module.undefined if name in _LOOKUPS]
    anchored = [name for name in module.undefined if name in ANCHORED]
    system_call = [name for name in module.undefined if name in _SYSTEM_CALL]
    delegated = [name for name in module.undefined if _DELEGATED.fullmatch(name)]
    borrows = [name for name in module.undefined if name in _BORROWS]
    if "userspace_init_fs" in borrows:
        verdict = ModuleVerdict.BORROWS
    elif lookups:
        verdict = ModuleVerdict.EXPOSED
    else:
        verdict = ModuleVerdict.SAFE if anchored or system_call or delegated else ModuleVerdict.NONE
    is_hidden = verdict is ModuleVerdict.BORROWS and not lookups
    return ModuleReport(
        path=module.path,
        name=module.name,
        vermagic=module.vermagic,
        license=module.license,
        verdict=verdict,
        meaning=_BORROWS_ONLY if is_hidden else _MEANINGS[verdict],
        lookups=lookups,
        anchored=anchored,
        delegated=delegated,
        system_call=system_call,
        borrows=borrows,
        unshares="unshare_fs_struct" in module.undefined,
        kthreads=[name for name in module.undefined if _KTHREADS.fullmatch(name)],
        work=[name for name in module.undefined if _WORK.fullmatch(name)],
    )
