"""Makes the recording of the tests and the screenshots: ``python -m tests.kernels.make_recording``.

A boot of a 7.3 kernel under emulation, from its first instruction, in steps of 50 ms: a large initramfs is unpacked,
PID 1 switches root to a squashfs, and there are a chroot, an unshare, a namespace and a usermodehelper.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from explorer.recording.reader import Recording
from tests.conftest import DATA
from tests.kernels.lab import Guest
from tests.kernels.recordings import UNTIL_SWITCHED, boot_options, record_guest

_MAX_SIZE = 500_000


def main() -> None:
    """Make it."""
    final = DATA / "boot-7.3.nxrec"
    with (
        tempfile.TemporaryDirectory() as directory,
        Guest.boot("7.3", "switch-root", boot_options()) as guest,
    ):
        made = Path(directory) / final.name
        done = record_guest(guest, made, "--until", UNTIL_SWITCHED, "--for", "30s")
        print(done.stderr, end="")
        if done.returncode:
            raise SystemExit(f"record: exit code {done.returncode}")
        with Recording.open(made) as recording:
            if recording.end is None or recording.end.code != "until" or recording.size > _MAX_SIZE:
                raise SystemExit(f"{final.name}: {recording.end}, {recording.size} bytes")
        shutil.copyfile(made, final)
    final.chmod(0o644)  # it is data of the repository, not somebody's secret
    print(f"{final}: {final.stat().st_size} bytes")


if __name__ == "__main__":
    main()
