"""Open a kernel: live, vmcore, QEMU guest, physical memory image."""
