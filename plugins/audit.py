"""Linux Audit (kernel/audit.c, kernel/audit_tree.c): records of system calls, and rules that watch directory trees.

The path of a tree rule (``-F dir=``) is looked up when the rule is added, by the task that adds it, and again by
``audit_tag_tree()`` and ``audit_trim_trees()``, in the task that asks for that; the thread ``audit_prune_tree`` frees
trees whose directory is gone, and ``kauditd`` sends records. Neither thread walks a path, so nothing here borrows.
``audit_prune_tree`` is started with the first tree rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    array_text,
    everywhere,
    for_each_list_entry,
    incomplete,
    walkers,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "AuditFacts", "Tree")


class Tree(Record):
    """``struct audit_tree``: one watched path, whatever the number of rules for it."""

    address: Address
    path: KernelText
    """As the rule named it."""
    goner: bool
    """The directory is gone, and the tree is about to be freed."""
    tagged: bool
    """It has a root: inodes are watched for it."""
    now: KernelSetting | None
    """That path, as it is looked up now."""
    watched: Address | None = None
    """The inode that the rule watches as the tree's root; ``None`` if it has none, or that could not be read."""
    found: Address | None = None
    """The inode at that path now; ``None`` if none was found."""


class AuditFacts(GuardedFacts):
    enabled: int | None
    """0 off, 1 on, 2 locked until the next boot."""
    pruner: Reference | None
    """The thread ``audit_prune_tree``."""
    trees: list[Tree]


def _trees(kernel: PluginKernel, reading: Reading) -> Iterator[Tree]:
    head = kernel.variable("", "tree_list", "struct list_head")
    for tree in for_each_list_entry(kernel, "audit_tree", head, "list"):
        path = array_text(tree.pathname)
        now = reading.look_up(kernel, "audit tree", path)
        tagged = bool(tree.root.value_())
        yield Tree(
            address=tree.value_(),
            path=path,
            goner=bool(tree.goner.value_()),
            tagged=tagged,
            now=now,
            watched=reading.get("audit_tree.root", lambda tree=tree: _watched(tree)) if tagged else None,  # type: ignore[misc]
            found=_inode_at(kernel, reading, now),
        )


def _watched(tree: drgn.Object) -> int:
    """The inode of the tree's root: ``audit_chunk.key`` is the address of its ``i_fsnotify_marks``."""
    from drgn import offsetof

    marks = offsetof(tree.prog_.type("struct inode"), "i_fsnotify_marks")
    return int(tree.root.key) - int(marks)


def _inode_at(kernel: PluginKernel, reading: Reading, now: KernelSetting | None) -> int | None:
    """The inode that a path leads to: auditctl's task looked it up from PID 1's root, as a rule."""
    from drgn import Object

    if now is None:
        return None
    target = now.target if now.init_found is None else now.init_target
    if target is None or target.dentry is None:
        return None
    dentry = Object(kernel.prog, "struct dentry *", target.dentry)
    return reading.get("dentry.d_inode", lambda: int(dentry.d_inode.value_()) or None)


def _pruner(kernel: PluginKernel) -> Reference | None:
    thread = kernel.variable("", "prune_thread", "struct task_struct *").read_()
    return kernel.task_ref(thread) if thread.value_() else None


def collect(kernel: PluginKernel) -> AuditFacts:
    """Read the trees."""
    reading = Reading()
    return AuditFacts(
        enabled=reading.get(
            "audit_enabled", lambda: int(kernel.variable("", "audit_enabled", "unsigned int"))
        ),
        pruner=reading.get("prune_thread", lambda: _pruner(kernel)),
        trees=reading.get_list("tree_list", lambda: _trees(kernel, reading)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: AuditFacts) -> Iterator[Finding]:
    """Trees that are not where their rule says, and threads that walk paths."""
    yield from incomplete(PLUGIN, facts)
    yield from walkers(PLUGIN, snapshot, "Audit's threads send records and free memory.")
    for tree in facts.trees:
        if tree.goner:
            continue
        if tree.watched is not None and tree.found is not None and tree.watched != tree.found:
            yield PLUGIN.finding(
                "TREE",
                Severity.LOW,
                f"an audit rule watches the tree {tree.path}, and something else is at that path now",
                [Reference(kind="plugin", address=tree.address, label=f"audit tree {tree.path}")],
                means="Since the rule was added something was mounted over the directory, its filesystem was unmounted "
                "lazily, or it was renamed and another one took its name. What is done at that path now is not "
                "watched; what was there before still is.",
                do="Delete all rules of this path, then add them again: as long as one is there, the kernel goes on "
                "with its tree.",
            )
            continue
        if tree.now is None or tree.now.found != "no" or tree.now.is_only_elsewhere:
            continue
        yield PLUGIN.finding(
            "TREE",
            Severity.LOW,
            f"an audit rule watches the tree {tree.path}, which does not exist for init",
            [Reference(kind="plugin", address=tree.address, label=f"audit tree {tree.path}")],
            means="The directory was renamed, or its filesystem was unmounted or mounted in another namespace only. "
            "What is created at that path from now on is not watched.",
            do="Delete the rule and add it again for the directory's present path.",
        )


PLUGIN = Plugin(
    name="audit",
    title="Linux Audit: rules that watch directory trees",
    facts=AuditFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("audit_enabled", "kauditd_thread"),
    speaks_for=(Speaks(threadfn="kauditd_thread"), Speaks(threadfn="prune_tree_thread")),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
)
