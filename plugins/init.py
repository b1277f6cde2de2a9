"""PID 1: whose filesystem state the kernel itself uses (init/main.c, fs/fs_struct.c, fs/namespace.c).

Up to 7.2 PID 1 shares ``init_fs`` with the kernel threads. Since 7.3 ``kernel_init()`` runs in ``userspace_init_fs``,
and whatever borrows (``scoped_with_init_fs()``, and every copy for a usermodehelper) gets exactly this ``fs_struct``:
what init does to its root, the kernel's own lookups do too. The initial root is the top of the initial mount namespace;
systemd and switch_root move it there again after mounting the real root on top.

That PID 1 has abandoned ``userspace_init_fs``, and who shares it, are rules of the core (they need no facts of
their own); here: where the kernel's lookups begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    Expectation,
    Finding,
    Generation,
    GuardedFacts,
    Owner,
    PathRef,
    Placement,
    Plugin,
    PluginKernel,
    Reading,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    incomplete,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "InitFacts")

_NOWHERE = (Placement.NULLFS, Placement.NULLFS_NS_ROOT, Placement.FAILFS)


class InitFacts(GuardedFacts):
    task: Reference | None
    """PID 1."""
    fs: Address | None
    """What PID 1 looks paths up in."""
    kernel_fs: Address | None
    """``userspace_init_fs``; ``init_fs`` before 7.3: what the kernel's own lookups use."""
    kernel_root: PathRef | None
    """The root of that."""
    visible_root: Address | None
    """The mount on top of the root of PID 1's mount namespace (kernels that have ``mount.overmount``)."""


def _find_init(kernel: PluginKernel) -> drgn.Object:
    task = kernel.find_task(1)
    if task is None:
        raise LookupError("there is no PID 1")
    return task


def _kernel_fs(kernel: PluginKernel) -> drgn.Object:
    """``userspace_init_fs``: a pointer since 7.3, the object itself in the RFC's first version."""
    if kernel.generation is Generation.ISOLATED:
        return kernel.variable("", "userspace_init_fs", "struct fs_struct *")
    name = "userspace_init_fs" if kernel.generation is Generation.RFC_V1 else "init_fs"
    return kernel.variable("", name, "struct fs_struct").address_of_()


def _visible_root(kernel: PluginKernel, task: drgn.Object) -> int | None:
    """Mirrors topmost_overmount(), which came with ``mount.overmount``; ``None`` before that."""
    mount = task.nsproxy.mnt_ns.root
    if not mount.type_.type.has_member("overmount"):
        return None

    def chain() -> Iterator[drgn.Object]:
        top = mount
        while top.value_():
            yield top
            top = top.overmount

    stack = list(kernel.bounded(chain(), "overmounts", 4096))
    return int(stack[-1].value_())


def collect(kernel: PluginKernel) -> InitFacts:
    """Read PID 1, the ``fs_struct`` the kernel uses, and the top of the initial namespace."""
    reading = Reading()
    task = reading.get("PID 1", lambda: _find_init(kernel))
    fs = reading.get("userspace_init_fs", lambda: _kernel_fs(kernel))
    return InitFacts(
        task=None if task is None else reading.get("PID 1", lambda: kernel.task_ref(task)),
        fs=None if task is None else reading.get("fs", lambda: int(task.fs.value_())),
        kernel_fs=None if fs is None else reading.get("userspace_init_fs", lambda: int(fs.value_())),
        kernel_root=None if fs is None else reading.get("root", lambda: kernel.path_ref(fs.root)),
        visible_root=None if task is None else reading.get("mnt_ns", lambda: _visible_root(kernel, task)),
        missing=reading.missing,
    )


def audit(snapshot: Snapshot, facts: InitFacts) -> Iterator[Finding]:
    """The kernel's lookups begin nowhere, or below what init's namespace shows."""
    yield from incomplete(PLUGIN, facts)
    root = facts.kernel_root
    if root is None:
        return
    isolated = snapshot.kernel.generation in (Generation.ISOLATED, Generation.RFC_V1)
    name = "userspace_init_fs" if isolated else "init_fs"
    evidence = [
        Reference(kind="fs_struct", address=facts.kernel_fs, label=name),
        Reference(kind="mount", address=root.mount, label=f"{root.fstype}:{root.path}"),
    ]
    if isolated and any(task.pid == 1 and task.owned_fs != facts.kernel_fs for task in snapshot.tasks):
        return  # PID 1 has abandoned it: NX-PID1-ABANDONED says that, and why the root is where it is
    if root.placement in _NOWHERE:
        yield PLUGIN.finding(
            "NOWHERE",
            Severity.CRITICAL,
            f"the kernel's own lookups begin in {root.placement.value}: {name} has its root there",
            evidence,
            means="Firmware, core dumps, modprobe and every borrower look paths up from this root, which is empty.",
            do="Find out who moved init's root: pivot_root() and chroot() of PID 1 change it.",
        )
    elif root.placement is Placement.DETACHED:
        yield PLUGIN.finding(
            "DETACHED",
            Severity.HIGH,
            f"the kernel's own lookups begin on a detached mount: {root.fstype}:{root.path}",
            evidence,
            means="The mount was unmounted lazily: what is mounted in init's namespace is not below this root.",
            do="PID 1 must chroot() into its new root; look at what switched roots.",
        )
    elif isolated and _is_covered(snapshot, facts, root):
        yield PLUGIN.finding(
            "HALF-SWITCHED",
            Severity.MEDIUM,
            f"something is mounted over the root that the kernel uses ({root.fstype}:{root.path})",
            [*evidence, Reference(kind="mount", address=facts.visible_root, label="visible root")],
            means="A new root was mounted on /, and PID 1 has not entered it: the kernel still looks paths up in the "
            "old one. switch_root does both; between the two this is normal.",
            do='If the system has long been up: PID 1 must chroot(".") after moving the mount.',
        )


def _is_covered(snapshot: Snapshot, facts: InitFacts, root: PathRef) -> bool:
    """Whether the root is a mount's own root, below the one the namespace shows."""
    if facts.visible_root in (None, root.mount):
        return False
    mount = snapshot.mount_by_address.get(root.mount)
    return mount is not None and mount.overmount is not None and mount.mountpoint == "/"


PLUGIN = Plugin(
    name="init",
    title="PID 1: where the kernel's own lookups begin",
    facts=InitFacts,
    collect=collect,
    audit=audit,
    needs_symbols=("init_task",),
    speaks_for=(Speaks(threadfn="kernel_init"),),
    expected={
        Generation.LEGACY: Expectation((Owner.INIT_FS,)),
        Generation.NULLFS_ROOTFS: Expectation((Owner.INIT_FS,)),
        Generation.RFC_V1: Expectation((Owner.USERSPACE_INIT_FS,), (Placement.INIT_ROOT,)),
        Generation.ISOLATED: Expectation((Owner.USERSPACE_INIT_FS,), (Placement.INIT_ROOT,)),
    },
)
