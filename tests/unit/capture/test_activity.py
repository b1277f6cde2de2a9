"""The pure parts of the activity capture, and what the slices of real kernels show of it."""

from __future__ import annotations

import pytest

from explorer.capture.kernel.modules import taint_letters
from explorer.capture.kernel.settings import command_path, core_pattern_path
from explorer.capture.tasks.stacks import relative_source


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        (b"core", None),
        (b"", None),
        (b"|", None),
        (b"|  ", None),
        (b"|helper %p", None),
        (b"|/usr/lib/systemd/systemd-coredump %P %u %g", b"/usr/lib/systemd/systemd-coredump"),
        (b"|/opt/%e/handler", b"/opt"),
        (b"/cores/core", b"/cores"),
        (b"/core", b"/"),
        (b"/cores/core.%e.%p", b"/cores"),
        (b"/cores/%u/core", b"/cores"),
        (b"/%e", b"/"),
        (b"cores/%e", None),
        (b"@/run/core.sock", b"/run/core.sock"),
        (b"@@/run/core.sock", b"/run/core.sock"),
        (b"@run/core.sock", None),
    ],
)
def test_the_path_of_a_core_pattern_is_what_the_kernel_would_open(pattern: bytes, path: bytes | None) -> None:
    assert core_pattern_path(pattern, sockets=True) == path


def test_an_at_sign_is_part_of_a_relative_name_where_the_kernel_knows_no_core_sockets() -> None:
    assert core_pattern_path(b"@/run/core.sock", sockets=False) is None


def test_only_an_absolute_program_of_a_command_line_is_looked_up() -> None:
    assert command_path(b"/sbin/poweroff -f") == b"/sbin/poweroff"
    assert command_path(b"poweroff -f") is None
    assert command_path(b"") is None


def test_taints_read_as_in_proc_modules() -> None:
    """Out of tree and unsigned; proprietary; and a bit that this program has not heard of."""
    assert taint_letters(0) == ""
    assert taint_letters(1 << 12 | 1 << 13) == "OE"
    assert taint_letters(1 | 1 << 12 | 1 << 13) == "POE"
    assert taint_letters(1 << 40) == "?"


def test_a_source_file_is_named_from_the_top_of_the_kernel_tree() -> None:
    assert relative_source("/build/linux-7.3/fs/coredump.c", "/build/linux-7.3/") == "fs/coredump.c"
    assert relative_source("./include/linux/fs.h", "") == "include/linux/fs.h"
    assert relative_source("fs/namei.c", "") == "fs/namei.c"
