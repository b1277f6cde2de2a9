"""btrfs: device names that the kernel opens again by itself (fs/btrfs/volumes.c, dev-replace.c).

When a device is replaced or removed, ``update_dev_time()`` looks the device's name up and touches it. A replacement
that was suspended (remounted read-only, or interrupted by a reboot) is finished by the kernel thread ``btrfs-devrepl``
(``btrfs_dev_replace_kthread``): since 7.3 it borrows init's filesystem there. ``btrfs replace start`` itself runs
in the caller's ioctl, without a thread and without a borrow. The kernel keeps device names as they were given to
mount or ``btrfs device scan``: they may name nothing any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from explorer.plugin import (
    Address,
    Borrows,
    Expectation,
    Finding,
    GuardedFacts,
    KernelSetting,
    KernelText,
    KernelWord,
    Owner,
    Plugin,
    PluginKernel,
    Reading,
    Record,
    Reference,
    Severity,
    Snapshot,
    Speaks,
    absent,
    array_text,
    borrowers,
    everywhere,
    for_each_list_entry,
    incomplete,
    pointer_text,
)

if TYPE_CHECKING:
    import drgn

__all__ = ("PLUGIN", "BtrfsFacts", "Device", "Filesystem", "Replace")

_STATES = {0: "never started", 1: "started", 2: "finished", 3: "canceled", 4: "suspended"}

_BORROW = ("update_dev_time",)


class Device(Record):
    """``struct btrfs_device``."""

    address: Address
    devid: int
    """0 is the target of a running replacement."""
    name: KernelText | None
    """``None`` for a device that is missing."""
    now: KernelSetting | None
    """That name, from init's root."""


class Replace(Record):
    """``fs_info->dev_replace``."""

    state: KernelWord
    """never started, started, finished, canceled or suspended."""
    source: KernelText | None
    target: KernelText | None


class Filesystem(Record):
    """``struct btrfs_fs_devices``: a filesystem that was scanned or mounted."""

    address: Address
    uuid: str
    mounted: bool
    devices: list[Device]
    replace: Replace | None
    """``None`` where it is not mounted."""


class BtrfsFacts(GuardedFacts):
    filesystems: list[Filesystem]


def _name(device: drgn.Object) -> str | None:
    """``device->name``: a ``struct rcu_string *`` up to 6.17, a ``char *`` since."""
    name = device.name
    if not name.value_():
        return None
    if hasattr(name.type_.type, "members") and name.type_.type.kind.name == "STRUCT":
        return array_text(name.str)
    return pointer_text(name)


def _device(kernel: PluginKernel, device: drgn.Object, reading: Reading) -> Device:
    name = reading.get("device.name", lambda: _name(device))
    return Device(
        address=device.value_(),
        devid=device.devid.value_(),
        name=name,
        now=reading.look_up(kernel, "btrfs device", name),
    )


def _replace(fs_info: drgn.Object) -> Replace:
    replace = fs_info.dev_replace

    def name_of(device: drgn.Object) -> str | None:
        return _name(device) if device.value_() else None

    state = replace.replace_state.value_()
    return Replace(
        state=_STATES.get(state, str(state)), source=name_of(replace.srcdev), target=name_of(replace.tgtdev)
    )


def _filesystem(kernel: PluginKernel, entry: drgn.Object, reading: Reading) -> Filesystem:
    from drgn import cast

    def devices() -> Iterator[Device]:
        for device in for_each_list_entry(kernel, "btrfs_device", entry.devices, "dev_list"):
            yield _device(kernel, device, reading)

    # The module's BTF has btrfs_fs_info as a forward declaration too.
    fs_info = reading.get("fs_info", lambda: cast("struct btrfs_fs_info *", entry.fs_info))
    is_mounted = fs_info is not None and bool(fs_info.value_())
    raw: Any = entry.fsid.value_()
    return Filesystem(
        address=entry.value_(),
        uuid=str(uuid.UUID(bytes=bytes(raw))),
        mounted=is_mounted,
        devices=reading.get_list("devices", devices),
        replace=reading.get("dev_replace", lambda: _replace(fs_info)) if fs_info and is_mounted else None,
    )


def _filesystems(kernel: PluginKernel, reading: Reading) -> Iterator[Filesystem]:
    head = kernel.variable("btrfs", "fs_uuids", "struct list_head")
    for entry in for_each_list_entry(kernel, "btrfs_fs_devices", head, "fs_list"):
        yield _filesystem(kernel, entry, reading)


def collect(kernel: PluginKernel) -> BtrfsFacts:
    """Read ``fs_uuids``."""
    reading = Reading()
    filesystems = reading.get_list("fs_uuids", lambda: _filesystems(kernel, reading))
    return BtrfsFacts(filesystems=filesystems, missing=reading.missing)


def audit(snapshot: Snapshot, facts: BtrfsFacts) -> Iterator[Finding]:
    """Device names that name nothing for init, and who borrows."""
    yield from incomplete(PLUGIN, facts)
    yield from borrowers(PLUGIN, snapshot, _BORROW, "btrfs touches the node of a device that it replaced.")
    for filesystem in facts.filesystems:
        if filesystem.mounted:
            for device in filesystem.devices:
                yield from _resolves(filesystem, device)


def _resolves(filesystem: Filesystem, device: Device) -> Iterator[Finding]:
    if device.now is None or device.now.found != "no":
        return
    says, do = absent(
        device.now, "Run `btrfs device scan` where the device's node is: the kernel takes the new name."
    )
    yield PLUGIN.finding(
        "DEVICE-NAME",
        Severity.LOW,
        f"btrfs {filesystem.uuid}: device {device.devid} is called {device.name}, which {says}",
        [Reference(kind="plugin", address=device.address, label=f"btrfs device {device.devid}")],
        means="The kernel looks this name up from init's root when the device is replaced or removed: the device's "
        "node will not be touched, and udev not told that the device is free.",
        do=do,
    )


PLUGIN = Plugin(
    name="btrfs",
    title="btrfs: device names looked up by the kernel",
    facts=BtrfsFacts,
    collect=collect,
    audit=audit,
    needs_modules=("btrfs",),
    built_in="btrfs_dev_replace_kthread",
    speaks_for=(
        Speaks(threadfn="btrfs_dev_replace_kthread"),
        Speaks(threadfn="cleaner_kthread"),
        Speaks(threadfn="transaction_kthread"),
        Speaks(workqueue="btrfs-*"),
    ),
    expected=everywhere(Expectation((Owner.INIT_FS,))),
    borrows=(Borrows(*_BORROW, seen_as=("btrfs_scratch_superblocks",)),),
)
