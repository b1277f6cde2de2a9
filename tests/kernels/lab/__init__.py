"""The lab: real Debian kernels, booted in QEMU with every filesystem state, and what the guest says of itself.

``packages`` fetches kernels, ``initramfs`` builds what they boot into (C sources in ``init/``), ``guest``
runs one, ``oracle`` parses the kernel's own account of every task. ``python -m tests.kernels.lab`` is for people.
"""

from __future__ import annotations

from tests.kernels.lab.guest import Guest, GuestOptions, boot_until
from tests.kernels.lab.kernels import LINES, OTHER_LINES, Kernel, find_series, get_kernel
from tests.kernels.lab.oracle import Identity, MountInfo, Oracle, OracleTask, parse_oracle
from tests.kernels.lab.scenarios import SCENARIOS, Scenario

__all__ = (
    "LINES",
    "OTHER_LINES",
    "SCENARIOS",
    "Guest",
    "GuestOptions",
    "Identity",
    "Kernel",
    "MountInfo",
    "Oracle",
    "OracleTask",
    "Scenario",
    "boot_until",
    "find_series",
    "get_kernel",
    "parse_oracle",
)
