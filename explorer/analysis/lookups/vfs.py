"""Which functions of a kernel's stack are the VFS's own, on the way from a caller to ``path_init()``, 6.1 to 7.3.

fs/namei.c, fs/open.c, fs/exec.c, fs/init.c, fs/stat.c, fs/namespace.c, fs/kernel_read_file.c and block/bdev.c. What
the compiler puts behind a name (``.part.0``, ``.constprop.0``, ``.isra.0``) says nothing of who asked.
"""

from __future__ import annotations

import re
from functools import lru_cache

from explorer.analysis.ko import ANCHORED
from explorer.model import TraceFrame

__all__ = ("bare_name", "is_anchored", "is_trampoline", "is_vfs")

_SUFFIX = re.compile(r"\.(?:part|constprop|isra|cold|llvm)(?:\.[0-9]+)*$")
_MOST_SUFFIXES = 8
#: Names come again and again; a hostile trace may have any number of them.
_KEPT = 1 << 14
_VFS = re.compile(
    "|".join(
        (
            # fs/namei.c: the walk itself, and what begins one.
            r"path_(?:init|lookupat|openat|parentat|mountpoint|get)",
            r"(?:link_path_walk|walk_component|pick_link|step_into|step_into_slowpath|lookup_fast|lookup_slow)",
            r"(?:follow_automount|traverse_mounts|__traverse_mounts|terminate_walk|set_root|nd_jump_root)",
            r"(?:do_filp_open|do_file_open(?:_root)?|do_tmpfile|do_o_path|do_open|open_last_lookups)",
            r"_*filename_(?:lookup|parentat|create|unlinkat|rmdir|mkdirat|mknodat|linkat|symlinkat|renameat2?)",
            r"_*kern_path(?:_\w+)?",
            r"(?:vfs_path_lookup|vfs_path_parent_lookup|user_path_\w+)",
            r"_*(?:start|end|done)_(?:creating|removing)(?:_user)?_path(?:_at)?|done_path_create",
            r"do_(?:mkdirat|mknodat|rmdir|unlinkat|renameat2|linkat|symlinkat)",
            # fs/open.c
            r"(?:filp_open|file_open_name|file_open_root(?:_mnt)?|do_sys_open(?:at2)?)",
            # fs/exec.c
            r"(?:open_exec|_*do_open_execat|alloc_bprm|bprm_execve|exec_binprm|do_execve|do_execveat_common)",
            r"kernel_execve",
            # fs/init.c: system calls of the boot.
            r"init_(?:mount|umount|chdir|chroot|chown|chmod|eaccess|stat|mknod|link|symlink|unlink|mkdir|rmdir|utimes)",
            # fs/stat.c, fs/namespace.c
            r"(?:vfs_statx|vfs_fstatat|do_statx|do_mount|path_mount|path_umount)",
            # fs/kernel_read_file.c
            r"kernel_read_file_from_path(?:_initns)?",
            # block/bdev.c
            r"(?:lookup_bdev|blkdev_get_by_path|bdev_open_by_path|(?:fs_)?bdev_file_open_by_path)",
        )
    )
)
#: A tracer's own, in place of the return addresses that it took.
_TRAMPOLINES = frozenset(
    {
        "arch_rethook_trampoline",
        "__kretprobe_trampoline",
        "kretprobe_trampoline",
        "return_to_handler",
        "ftrace_trampoline",
    }
)
#: Take a root of their own (``LOOKUP_ROOT``), as what modules may call does.
_ANCHORED = ANCHORED | {"file_open_root_mnt", "do_file_open_root"}


@lru_cache(_KEPT)
def bare_name(function: str) -> str:
    """The function without what the compiler put behind its name."""
    for _ in range(_MOST_SUFFIXES):
        shorter = _SUFFIX.sub("", function)
        if shorter == function or not shorter:
            break
        function = shorter
    return function


@lru_cache(_KEPT)
def _is_vfs_name(function: str) -> bool:
    return _VFS.fullmatch(bare_name(function)) is not None


def is_vfs(frame: TraceFrame) -> bool:
    """Whether a frame is the VFS's own: a function of that name in a module is not."""
    return frame.module is None and frame.function is not None and _is_vfs_name(frame.function)


def is_anchored(frame: TraceFrame) -> bool:
    """Whether what is called here was given a root of its own (``LOOKUP_ROOT``)."""
    return frame.module is None and frame.function is not None and bare_name(frame.function) in _ANCHORED


def is_trampoline(frame: TraceFrame) -> bool:
    """Whether a frame is a tracer's, and nobody's call."""
    return frame.function in _TRAMPOLINES and frame.module is None
