"""What each scenario of ``init/scenarios.c`` needs from the harness: modules, memory, files of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.kernels.lab.errors import LabError

__all__ = ("SCENARIOS", "Scenario", "find_scenario")


@dataclass(frozen=True)
class Scenario:
    """To add one: a C function, its entry in ``scenarios[]``, and an entry here.

    ``modules`` are loaded at boot with what they depend on (``qemu_fw_cfg`` always comes first); ``params`` gives
    a module its parameters; ``spare_modules`` only lie in ``/modules`` for the scenario to load by itself.
    ``packages``: Debian packages whose programs and libraries lie in the guest (no dependencies: name them all);
    with ``busybox-static`` the guest can run shell (``Guest.sh``). ``files``: path in the guest -> file of this
    machine. ``built_modules``: directories of ``modules/``, built for the kernel, which lie in ``/modules`` too.
    """

    name: str
    modules: tuple[str, ...] = ()
    spare_modules: tuple[str, ...] = ()
    built_modules: tuple[str, ...] = ()
    params: dict[str, str] = field(default_factory=dict)
    memory_mb: int = 256
    packages: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)


_FILES = Path(__file__).parent / "guestfiles"
#: What cifs asks modprobe for before 7.3: this guest has none.
_CIFS_CRYPTO = (
    "cmac",
    "ccm",
    "gcm",
    "ctr",
    "md5",
    "md4",
    "ecb",
    "hmac",
    "sha512_generic",
    "ghash_generic",
    "seqiv",
)
_KSMBD_MODULES = (*_CIFS_CRYPTO, "fuse", "smb_compress", "ksmbd", "dns_resolver", "cifs", "nls_utf8")
_KSMBD_PACKAGES = (
    *("busybox-static", "ksmbd-tools", "libc6", "libglib2.0-0", "libnl-3-200", "libnl-genl-3-200"),
    "libpcre2-8-0",
)
_KSMBD_FILES = {
    "/etc/passwd": _FILES / "passwd",
    "/etc/group": _FILES / "group",
    "/etc/ksmbd/ksmbdpwd.db": Path("/dev/null"),
    "/etc/ksmbd/ksmbd.conf": _FILES / "ksmbd.conf",
}
_LIO_MODULES = (
    *("fuse", "sd_mod", "configfs", "target_core_mod", "target_core_file", "target_core_iblock", "tcm_loop"),
    "iscsi_target_mod",
)
_BTRFS_MODULES = ("fuse", "btrfs", "loop", "sd_mod", "scsi_debug")
_BTRFS_PACKAGES = (
    *("busybox-static", "btrfs-progs", "libblkid1", "libc6", "libext2fs2", "libcom-err2", "liblzo2-2"),
    *("libudev1", "libuuid1", "libzstd1", "zlib1g"),
)
_LAYERS_MODULES = ("fuse", "overlay", "erofs", "loop")
_LAYERS_PACKAGES = (
    *("busybox-static", "erofs-utils", "auditd", "libaudit1", "libauparse0", "libcap-ng0", "libc6"),
    *("libgcc-s1", "liblz4-1", "libpcre2-8-0", "libselinux1", "libuuid1"),
)
_NFSD_MODULES = ("fuse", "nfsd", "nfsv4", "blocklayoutdriver", "cachefiles", "btrfs", "loop")
_PNFS_MODULES = ("nfsd", "nfsv4", "blocklayoutdriver", "xfs", *_LIO_MODULES[:-1])
_PNFS_PACKAGES = (*("busybox-static", "xfsprogs", "libblkid1", "libc6", "libinih1", "liburcu8", "libuuid1"),)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("healthy"),
        Scenario("lively", modules=("fuse",)),  # a module in 6.1, built in from 6.12 on
        # virtio_pci is a module in 6.1, and built in from 6.12 on
        Scenario("live", modules=("virtio_pci", "virtio_blk", "squashfs"), memory_mb=512),
        Scenario("shared-init"),
        Scenario("abandoned"),
        Scenario("audit", modules=("fuse",)),
        Scenario("chrooted-init"),
        Scenario("distribution"),
        Scenario("lost"),
        Scenario("holders"),
        # Goes on in the root of rootimage.py, which is its disk
        Scenario("switch-root", modules=("virtio_blk", "squashfs"), memory_mb=512),
        Scenario("pivot-root", modules=("virtio_blk", "squashfs"), memory_mb=512),
        # /next/vmlinuz and /next/initrd: files of the test's own
        Scenario("kexec", memory_mb=512),
        # The crash kernel of kdump.py, which gives it the tools
        Scenario("kdump", modules=("virtio_blk",)),
        Scenario("unpack", memory_mb=512),
        # What speed is measured on (bench/): nx.tasks=N, at most 20,000 processes or 100,000 threads
        Scenario("crowd", memory_mb=3072),
        Scenario("threads", memory_mb=4096),
        # make scale: nx.tasks=N processes, nx.threads=T in each, nx.namespaces=M, nx.mounts=K in each of these
        Scenario("sprawl", memory_mb=4096),
        # Guests without states of their own: tests make them with Guest.sh
        Scenario("shell", modules=("fuse", "autofs4"), packages=("busybox-static",)),
        # A driver that a test loads by itself: insmod of /modules/loop.ko
        Scenario("devices", spare_modules=("loop",), packages=("busybox-static",)),
        Scenario(
            "ksmbd", modules=_KSMBD_MODULES, packages=_KSMBD_PACKAGES, files=_KSMBD_FILES, memory_mb=512
        ),
        Scenario("lio", modules=_LIO_MODULES, packages=("busybox-static",), memory_mb=512),
        Scenario(
            "btrfs",
            modules=_BTRFS_MODULES,
            packages=_BTRFS_PACKAGES,
            params={"scsi_debug": "dev_size_mb=300"},
            memory_mb=1024,
        ),
        # Lookups by the kernel itself, to order: insmod of /modules/walker.ko
        Scenario("walker", built_modules=("walker",), packages=("busybox-static",)),
        # ... and the tool to see them, and a subsystem that looks up some by itself: LIO
        Scenario(
            "walked",
            modules=("virtio_pci", "virtio_blk", "squashfs", *_LIO_MODULES[:-1]),
            built_modules=("walker",),
            packages=("busybox-static",),
            memory_mb=512,
        ),
        # Filesystems on filesystems, and audit's rules about directories
        Scenario("layers", modules=_LAYERS_MODULES, packages=_LAYERS_PACKAGES, memory_mb=512),
        # An NFS server, its own client, and a filesystem that CacheFiles takes
        Scenario("nfsd", modules=_NFSD_MODULES, packages=_BTRFS_PACKAGES, memory_mb=1024),
        # An NFS server that shares its disk with its client: XFS on a disk of LIO's
        Scenario("pnfs", modules=_PNFS_MODULES, packages=_PNFS_PACKAGES, memory_mb=1024),
    )
}


def find_scenario(name: str) -> Scenario:
    """The scenario ``name``.

    :raises LabError: there is none.
    """
    try:
        return SCENARIOS[name]
    except KeyError:
        raise LabError(f"no scenario {name}; there are {', '.join(SCENARIOS)}") from None
