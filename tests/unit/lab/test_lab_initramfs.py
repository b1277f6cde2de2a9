"""The archive that guests boot from is one that the kernel's own format describes."""

from __future__ import annotations

import stat

from tests.kernels.lab.initramfs import Entry, filler_archive, newc_archive


def read_newc(archive: bytes) -> list[tuple[str, int, bytes]]:
    """Parse as the kernel's init/initramfs.c does: fixed headers, everything padded to four bytes."""
    found: list[tuple[str, int, bytes]] = []
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        numbers = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        name = archive[at + 110 : at + 109 + name_size].decode()
        at = -(-(at + 110 + name_size) // 4) * 4
        if name == "TRAILER!!!":
            return found
        found.append((name, mode, archive[at : at + size]))
        at = -(-(at + size) // 4) * 4


def test_every_entry_comes_back_with_its_mode_and_bytes() -> None:
    entries = [
        Entry("d", stat.S_IFDIR | 0o755),
        Entry("d/odd", stat.S_IFREG | 0o644, b"12345"),
        Entry("init", stat.S_IFREG | 0o755, b"\x7fELF\0\0\0"),
    ]
    archive = newc_archive(entries)
    assert read_newc(archive) == [(entry.path, entry.mode, entry.data) for entry in entries]
    assert len(archive) % 512 == 0, "a second archive must start at a boundary that the kernel skips to"


def test_the_filler_is_at_least_as_big_as_asked() -> None:
    files = read_newc(filler_archive(9))
    assert sum(len(data) for _, _, data in files) == 12 << 20
