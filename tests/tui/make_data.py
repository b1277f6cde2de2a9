"""Save a snapshot for the goldens: ``python -m tests.tui.make_data [TARGET]``; the sample, if none is named."""

from __future__ import annotations

import subprocess
import sys

from explorer.codec.snapshots import load_snapshot, write_json
from explorer.output.files import open_output

from .conftest import SAVED


def main() -> None:
    """Capture in a child, as the app does, and take out what differs from run to run and from place to place."""
    target = sys.argv[1] if len(sys.argv) > 1 else "sample"
    subprocess.run([sys.executable, "-m", "explorer", "snapshot", target, "-o", SAVED], check=False)
    snapshot = load_snapshot(SAVED)
    snapshot.capture.duration_s = 0.01
    snapshot.capture.source.target = "sample"
    snapshot.capture.notes.clear()
    # A plugin that does not load is this checkout's trouble, not the kernel's.
    snapshot.errors = [error for error in snapshot.errors if not error.where.startswith("plugin ")]
    with open_output(SAVED) as out:
        write_json(snapshot, out)


if __name__ == "__main__":
    main()
