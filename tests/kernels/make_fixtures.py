"""Make the embedded sample and the test fixtures anew: slices of the lively scenario on every kernel line, and one of
the holders scenario.

``python -m tests.kernels.make_fixtures [RFC_V1_DUMP]``; the rfc-v1 layout is in no released kernel, so its dump
has to be given.
"""

from __future__ import annotations

import sys
from pathlib import Path

import zstandard

from explorer.output.files import open_output
from explorer.plugin import load_plugins
from explorer.slicing.cut import record_slice
from explorer.targets.detect import detect_target
from explorer.targets.kernel import open_kernel
from tests.conftest import FIXTURES, HELD
from tests.kernels.lab import Guest

_LINES = {"isolated": "7.3", "nullfs-rootfs": "7.2", "legacy-6.12": "6.12", "legacy-6.1": "6.1"}
_MAX_SIZE = 4 << 20
#: It takes seconds, once, and a fifth less than what a user's slice is packed with.
_LEVEL = 19


def slice_to(target: str, path: Path) -> None:
    """Cut ``target`` into ``path``; a slice that is too large for the repository is an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_kernel(detect_target(target)) as kernel:
        piece = record_slice(kernel, lambda what, done, total: None, load_plugins().plugins)
    if piece.snapshot.errors:
        raise SystemExit(f"{target}: {piece.snapshot.errors[0]}")
    with open_output(path) as out:
        piece.write(out)
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
    path.write_bytes(zstandard.ZstdCompressor(level=_LEVEL).compress(plain))
    path.chmod(0o644)  # it is data of the repository, not somebody's secret
    size = path.stat().st_size
    print(f"{path}: {len(piece.snapshot.tasks)} tasks, {size / 1e6:.1f} MB")
    if size > _MAX_SIZE:
        raise SystemExit(f"{path} is larger than {_MAX_SIZE} bytes")


def main(arguments: list[str]) -> None:
    """Make all of them."""
    guests = [(line, "lively", FIXTURES[layout]) for layout, line in _LINES.items()]
    for line, scenario, path in [*guests, ("7.3", "holders", HELD)]:
        with Guest.boot(line, scenario) as guest:
            guest.stop()
            slice_to(f"qemu:{guest.qmp_socket}", path)
    for dump in arguments:
        slice_to(dump, FIXTURES["rfc-v1"])


if __name__ == "__main__":
    main(sys.argv[1:])
