"""A guest with a disk that LIO makes of a file, over its loopback: ``/dev/sda``, with a serial number."""

from __future__ import annotations

from tests.kernels.lab import Guest
from tests.kernels.subsystems import run_steps, wait_until

__all__ = ("LIO", "make_disk")

LIO = "/sys/kernel/config/target"


def make_disk(guest: Guest, size_mb: int, serial: str, directory: str = "/img") -> None:
    """Of ``disk.img`` in a new tmpfs; where configfs is mounted. What initiators register is kept below ``/db``.

    :param directory: where that is mounted
    """
    fileio, loop = f"{LIO}/core/fileio_0/fio", f"{LIO}/loopback/naa.6001405c3214b06a/tpgt_1"
    run_steps(
        guest,
        f"mkdir -p /db/pr /db/alua {directory} && echo /db >{LIO}/dbroot",
        f"mount -t tmpfs -o size={size_mb + 16}m tmp-img {directory} && truncate -s {size_mb}M {directory}/disk.img",
        f"mkdir -p {fileio} && echo fd_dev_name={directory}/disk.img,fd_dev_size={size_mb << 20} >{fileio}/control",
        f"echo 1 >{fileio}/enable; echo {serial} >{fileio}/wwn/vpd_unit_serial",
        f"mkdir -p {loop} && echo naa.6001405c3214b06b >{loop}/nexus && mkdir -p {loop}/lun/lun_0",
        f"ln -s {fileio} {loop}/lun/lun_0/l",
    )
    wait_until(guest, "test -b /dev/sda")
