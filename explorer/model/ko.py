"""A kernel module's file (``.ko``), as far as its symbols tell what it does with paths."""

from __future__ import annotations

from enum import StrEnum

from .base import KernelText, Record

__all__ = ("ModuleFile", "ModuleReport", "ModuleVerdict")


class ModuleFile(Record):
    """What is read from the file."""

    path: str
    """As the user named it."""
    name: KernelText
    """``name=`` of .modinfo, or the file's name without its endings."""
    vermagic: KernelText | None
    license: KernelText | None
    undefined: list[KernelText]
    """Symbols it takes from the kernel or other modules, sorted."""


class ModuleVerdict(StrEnum):
    """What becomes of the module's path lookups on a kernel that isolates kernel threads (7.3 on)."""

    NONE = "none"
    """No path lookups."""
    SAFE = "safe"
    """Only lookups for which the task's root does not matter."""
    BORROWS = "borrows"
    """It refers to ``userspace_init_fs``: it has been converted, at least in part."""
    EXPOSED = "exposed"
    """It looks up paths and never borrows."""


class ModuleReport(Record):
    """One module, judged by its undefined symbols. All lists are of symbols, sorted."""

    path: str
    name: KernelText
    vermagic: KernelText | None
    license: KernelText | None
    verdict: ModuleVerdict
    meaning: str
    """The verdict in words."""
    lookups: list[str]
    """Lookups that start at the root or working directory of the task that makes them."""
    anchored: list[str]
    """Lookups that start at a directory the module holds."""
    delegated: list[str]
    """Services of the kernel that look up paths from init's root by themselves."""
    system_call: list[str]
    """Lookups of names in user memory: they happen in a system call, with the caller's root."""
    borrows: list[str]
    """The symbols by which it borrows."""
    unshares: bool
    """``unshare_fs_struct()``: a private copy of what the thread has, which from 7.3 on is the empty nullfs."""
    kthreads: list[str]
    """It starts kernel threads."""
    work: list[str]
    """It runs work on workqueues."""
