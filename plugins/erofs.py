"""EROFS (fs/erofs): a compressed read-only filesystem on a block device or, since 6.12, in a file.

The image's path is looked up in mount(2), from the caller's own root, and the file stays open. Reading decompresses in
kworkers of the workqueue ``erofs_worker`` (or in threads ``erofs_worker/N``, where ``CONFIG_EROFS_FS_PCPU_KTHREAD`` is
set): they use the open file and walk no path. The filesystem with the image can be unmounted lazily below it.

Not tested: ``erofs_worker/N``, which Debian's kernels do not have; images on several devices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    DeadPlace,
    Expectation,
    Finding,
    GuardedFacts,
    KernelText,
    Owner,
    PathRef,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    everywhere,
    for_each_mount,
    for_each_super_block,
    incomplete,
    is_in_namespace,
    pointer_text,
    walkers,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "ErofsFacts", "Image")

_MODULE = "erofs"
_DEAD_FILE = DeadPlace(
    "DEAD-FILE",
    Severity.MEDIUM,
    means="The filesystem that holds the image was unmounted lazily. The image can still be read; nobody "
    "can open or replace its file, and the filesystem below it cannot be freed.",
    do="Unmount the EROFS first, then the filesystem with its image.",
)


class Image(Record):
    """One EROFS superblock."""

    superblock: Address
    mounted: bool | None
    """It is mounted in some mount namespace."""
    source: KernelText | None
    """What mount(2) was given: of the first mount."""
    file: PathRef | None
    """The file that the image is in; ``None`` for a block device."""


class ErofsFacts(GuardedFacts):
    images: list[Image]


def _file(kernel: PluginKernel, block: drgn.Object) -> PathRef | None:
    """``erofs_sb_info.dif0.file``, ``fdev`` in 6.12: before that there is only a block device (or fscache)."""
    from drgn import cast

    info = cast("struct erofs_sb_info *", block.s_fs_info)
    try:
        file = info.dif0.file
    except AttributeError:
        try:
            file = info.fdev
        except AttributeError:
            return None
    return kernel.path_ref(file.f_path) if file.value_() else None


def _source(kernel: PluginKernel, block: drgn.Object) -> str | None:
    for mount in for_each_mount(kernel, block):
        return pointer_text(mount.mnt_devname)
    return None


def _image(kernel: PluginKernel, block: drgn.Object, reading: Reading) -> Image:
    return Image(
        superblock=block.value_(),
        mounted=reading.get(
            "mounts", lambda: any(is_in_namespace(mount) for mount in for_each_mount(kernel, block))
        ),
        source=reading.get("mnt_devname", lambda: _source(kernel, block)),
        file=reading.get("dif0.file", lambda: _file(kernel, block)),
    )


def collect(kernel: PluginKernel) -> ErofsFacts:
    """Read every superblock of ``erofs_fs_type``."""
    reading = Reading()

    def images() -> Iterator[Image]:
        for block in for_each_super_block(kernel, _MODULE, "erofs_fs_type"):
            yield _image(kernel, block, reading)

    return ErofsFacts(images=reading.get_list("erofs_fs_type", images), missing=reading.missing)


def audit(snapshot: Snapshot, facts: ErofsFacts) -> Iterator[Finding]:
    """Images in files that nobody else can open, and workers that walk paths."""
    yield from incomplete(PLUGIN, facts)
    yield from walkers(PLUGIN, snapshot, "EROFS reads what it opened when it was mounted.")
    for image in facts.images:
        if image.file is not None:
            reference = Reference(kind="plugin", address=image.superblock, label=f"EROFS {image.source}")
            subject = f"the EROFS image {image.source} is {image.file.fstype}:{image.file.path} on"
            yield from _DEAD_FILE.findings(PLUGIN, image.file, subject, reference)


PLUGIN = Plugin(
    name="erofs",
    title="EROFS: images, and the files they are in",
    facts=ErofsFacts,
    collect=collect,
    audit=audit,
    needs_modules=("erofs",),
    built_in="erofs_fs_type",
    speaks_for=(Speaks(workqueue="erofs_worker"), Speaks(comm="erofs_worker/*")),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
)
