"""Formats of others that are not read: what a file is, and the way from it to a dump."""

from __future__ import annotations

import struct

__all__ = ("foreign_format",)

_DUMP_OF_GUEST = "name the guest's QMP socket (qemu:SOCKET), or let QEMU write a dump (dump-guest-memory)"
_VMWARE = "a saved state of VMware (.vmss, .vmsn): vmss2core -N6 makes a core of it; a .vmem is physmem:FILE"
_KDUMP = "let kdump within the guest write one"
#: (how the file begins, what it is and what to do)
_BEGINNINGS = (
    (b"AVML", "memory that AVML has compressed: avml-convert makes a LiME file of it, which is read"),
    (b"LibvirtQemudSave", "a guest that libvirt has saved: virsh restore it, then virsh dump --memory-only"),
    (
        b"LibvirtQemudPart",
        "a guest that libvirt has not saved to the end: virsh dump --memory-only makes a dump",
    ),
    (b"QEVM", f"a QEMU migration stream (savevm): load it (-incoming), then {_DUMP_OF_GUEST}"),
    (
        b"\x7fVirtualBox SavedState",
        "a saved state of VirtualBox: resume it, then VBoxManage debugvm VM dumpvmcore --filename FILE",
    ),
    *((struct.pack("<I", magic), _VMWARE) for magic in (0xBED2BED0, 0xBAD1BAD1, 0xBED2BED2, 0xBED3BED3)),
    (b"Xen saved domain", f"a saved domain of Xen, not a dump: {_KDUMP}"),
    (b"LibxlFmt", f"a saved domain of Xen, not a dump: {_KDUMP}"),
    (b"\xa8\x19\x01\x73\x61\x8f\x23\xfd", "a dump of an s390x kernel; only x86_64 is supported"),
    (b"\xed\x23\x8f\x61\x73\x01\x19\xa8", "an LKCD dump, of kernels before 6.1"),
    (b"PAGEDU64", "a Windows crash dump"),
    (b"PAGEDUMP", "a Windows crash dump"),
    (b"QFI\xfb", "a qcow2 disk image, not a memory dump"),
    (b"KDMV", "a VMware disk image, not a memory dump"),
    (b"<<< Oracle VM VirtualBox Disk", "a VirtualBox disk image, not a memory dump"),
    (b"vhdxfile", "a Hyper-V disk image, not a memory dump"),
    (b"\x89LZO", "compressed with lzop: decompress it first (lzop -d)"),
    (b"LZIP", "compressed with lzip: decompress it first (lzip -d)"),
    (b"\x5d\0\0", "compressed with lzma: decompress it first (xz -d --format=lzma)"),
    (b"\x02\x21\x4c\x18", "compressed with lz4 -l: decompress it first (lz4 -d)"),
    (b"\x1f\x9d", "compressed with compress: decompress it first (gzip -d)"),
    (b"\xff\x06\0\0sNaPpY", "compressed with snappy: decompress it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first, and give the dump in it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first, and give the dump in it"),
    (b"Rar!\x1a\x07", "a rar archive: unpack it first, and give the dump in it"),
)
_TAR_SIZE = 512
_TAR_SUM = slice(148, 156)


def foreign_format(head: bytes) -> str | None:
    """What a file is that begins with ``head``, and what to do with it; ``None`` if it is none of these."""
    for magic, what in _BEGINNINGS:
        if head.startswith(magic):
            return what
    if _is_tar(head):
        return "a tar archive: unpack it first (tar -xf), and give the dump in it"
    return None


def _is_tar(head: bytes) -> bool:
    """Whether the first 512 bytes have the checksum of a tar header: the oldest ones have no magic."""
    block = head[:_TAR_SIZE]
    said = block[_TAR_SUM].strip(b" \0")
    if len(block) < _TAR_SIZE or not said or said.strip(b"01234567"):
        return False
    return int(said, 8) == sum(block) - sum(block[_TAR_SUM]) + 8 * ord(" ")
