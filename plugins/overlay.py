"""overlayfs (fs/overlayfs): a tree made of layers of other filesystems.

Layers are looked up in mount(2), from the caller's own root, and everything afterwards starts at a private clone of
each layer's mount, with the mounter's credentials: no kernel thread, no path walk, no borrow. A clone is in no mount
namespace, ever; what it belongs to can be unmounted all the same. A layer is *orphaned* if its superblock is mounted
nowhere any more except by such clones: its files can be reached only through the overlay.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from explorer.plugin import (
    Address,
    Finding,
    GuardedFacts,
    KernelText,
    PathRef,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    for_each_mount,
    for_each_super_block,
    incomplete,
    is_in_namespace,
    make_path,
    pointer_text,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "Layer", "Overlay", "OverlayFacts")

_MODULE = "overlay"
_MAX_LAYERS = 502  # OVL_MAX_STACK, the upper layer, and one for luck


class Layer(Record):
    """``struct ovl_layer``."""

    index: int
    """0 is the upper layer, 1 the topmost lower one."""
    option: KernelText | None
    """What the mount option called it; ``None`` for lower layers before 6.5 (see ``Overlay.lowerdir``)."""
    path: PathRef | None
    """Root of the private clone: its placement is ``internal``."""
    superblock: Address | None
    mounted: bool | None
    """Its superblock is mounted in some mount namespace."""


class Overlay(Record):
    """One overlay superblock."""

    superblock: Address
    mounted: bool | None
    """It is mounted in some mount namespace."""
    lowerdir: KernelText | None
    """The mount option as it was given."""
    upperdir: KernelText | None
    workdir: KernelText | None
    layers: list[Layer]
    """Without an upper layer, index 0 is left out."""


class OverlayFacts(GuardedFacts):
    overlays: list[Overlay]


def _is_mounted(kernel: PluginKernel, block: drgn.Object) -> bool:
    return any(is_in_namespace(mount) for mount in for_each_mount(kernel, block))


def _layer(kernel: PluginKernel, overlay: drgn.Object, index: int, reading: Reading) -> Layer | None:
    mnt = overlay.layers[index].mnt
    if not mnt.value_():
        return None
    config = overlay.config

    def name() -> str | None:
        if index == 0:
            return pointer_text(config.upperdir)
        if not config.type_.has_member("lowerdirs") or not config.lowerdirs.value_():
            return None
        return pointer_text(config.lowerdirs[index])

    return Layer(
        index=index,
        option=reading.get("name of a layer", name),
        path=reading.get("layer", lambda: kernel.path_ref(make_path(kernel, mnt, mnt.mnt_root))),
        superblock=reading.get("superblock of a layer", lambda: int(mnt.mnt_sb.value_())),
        mounted=reading.get("mounts of a layer", lambda: _is_mounted(kernel, mnt.mnt_sb)),
    )


def _overlay(kernel: PluginKernel, block: drgn.Object, reading: Reading) -> Overlay:
    from drgn import cast

    overlay = cast("struct ovl_fs *", block.s_fs_info)
    config = overlay.config

    def layers() -> Iterator[Layer]:
        for index in range(min(int(overlay.numlayer), _MAX_LAYERS)):
            layer = _layer(kernel, overlay, index, reading)
            if layer is not None:
                yield layer

    def lowerdir() -> str | None:
        if not config.type_.has_member("lowerdirs"):
            return pointer_text(config.lowerdir)
        return pointer_text(config.lowerdirs[0]) if config.lowerdirs.value_() else None

    return Overlay(
        superblock=block.value_(),
        mounted=reading.get("mounts of an overlay", lambda: _is_mounted(kernel, block)),
        lowerdir=reading.get("lowerdir", lowerdir),
        upperdir=reading.get("upperdir", lambda: pointer_text(config.upperdir)),
        workdir=reading.get("workdir", lambda: pointer_text(config.workdir)),
        layers=reading.get_list("layers", layers),
    )


def collect(kernel: PluginKernel) -> OverlayFacts:
    """Read every overlay's layers, and where they are mounted."""
    reading = Reading()

    def overlays() -> Iterator[Overlay]:
        for block in for_each_super_block(kernel, _MODULE, "ovl_fs_type"):
            yield _overlay(kernel, block, reading)

    return OverlayFacts(overlays=reading.get_list("ovl_fs_type", overlays), missing=reading.missing)


def audit(snapshot: Snapshot, facts: OverlayFacts) -> Iterator[Finding]:
    """Layers that only the overlay can reach: information, since containers are made that way."""
    yield from incomplete(PLUGIN, facts)
    for overlay in facts.overlays:
        orphans = [layer for layer in overlay.layers if layer.mounted is False]
        if not orphans:
            continue
        names = ", ".join(_name(layer) for layer in orphans)
        yield PLUGIN.finding(
            "ORPHANED-LAYER",
            Severity.INFO,
            f"overlay with lowerdir={overlay.lowerdir} stands on {names}, mounted nowhere else any more",
            [
                Reference(kind="plugin", address=overlay.superblock, label="overlay"),
                *(
                    Reference(kind="mount", address=layer.path.mount, label=_name(layer))
                    for layer in orphans
                    if layer.path is not None
                ),
            ],
            means="The layer's filesystem was unmounted; the overlay's private clone of its mount keeps it alive. Its "
            "files can be reached only through the overlay, and it cannot be freed before that is unmounted.",
            do="Nothing, if the layer was meant to be hidden (containers and live systems do that).",
        )


def _name(layer: Layer) -> str:
    which = "upper layer" if layer.index == 0 else f"lower layer {layer.index}"
    fstype = layer.path.fstype if layer.path is not None else None
    return f"{which} {layer.option or ''}".rstrip() + (f" ({fstype})" if fstype else "")


PLUGIN = Plugin(
    name="overlay",
    title="overlayfs: layers, and where they are mounted",
    facts=OverlayFacts,
    collect=collect,
    audit=audit,
    needs_modules=("overlay",),
    built_in="ovl_fs_type",
)
