"""nullfs-explorer: where every task of a Linux kernel lives."""

__version__ = "0.1.0"
