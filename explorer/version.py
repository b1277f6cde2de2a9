"""Which version of nullfs-explorer this is: stands below everything, and imports nothing."""

__version__ = "0.1.0"
