"""The terminal app. Everything it shows comes from a ``Snapshot``; the kernel is read by a child process."""
