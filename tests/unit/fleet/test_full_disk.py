"""A run onto a filesystem that is really full, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FIXTURES, capture_file
from tests.fleets import make_snapshots

_MACHINES = 6
#: The dataset, what is beside it, and how far the run comes: no row, and some snapshots of those that are kept.
_KILOBYTES = 40
_ROOM = "mount -t tmpfs -o size={size}k none {disk} || exit 77"
_RUN = "{python} -m explorer fleet run {files} -o {disk}/F --workers 2 --keep-snapshots; echo $?"
_ROWS = (
    '{python} -c \'import json, pathlib, explorer.fleet as f; t = f.Dataset.open(pathlib.Path("{disk}/F")).table;'
    ' print(json.dumps([t("targets").to_pylist(), t("tasks").num_rows], default=str))\''
)
_MORE = "mount -o remount,size=64m {disk}"


def test_a_disk_that_is_full_leaves_a_whole_dataset_and_with_more_room_the_same_command_has_every_row_once(
    tmp_path: Path,
) -> None:
    files, disk = tmp_path / "files", tmp_path / "disk"
    files.mkdir()
    disk.mkdir()
    made = make_snapshots(files, _MACHINES, {key: capture_file(path) for key, path in FIXTURES.items()})
    values = {"size": _KILOBYTES, "disk": disk, "files": files, "python": sys.executable}
    script = "\n".join((_ROOM, _RUN, _ROWS, _MORE, _RUN, _ROWS)).format(**values)
    rights = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    done = subprocess.run(
        ["unshare", *rights, "sh", "-c", script], capture_output=True, text=True, timeout=240, check=False
    )
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip(f"no mount namespace can be had here: {done.stderr.strip()}")
    full, before, went_on, after = done.stdout.splitlines()
    assert (full, json.loads(before), went_on) == ("2", [[], 0], "0"), done.stderr
    complaint, *_ = done.stderr.splitlines()
    assert "No space left on device" in complaint and "the same command goes on" in complaint
    targets, tasks = json.loads(after)
    assert sorted(target["path"] for target in targets) == sorted(map(str, made))
    assert tasks == sum(target["tasks"] for target in targets) > 0
    assert all(target["snapshot"] for target in targets)
