"""A run gives what the single commands give, target by target, on whatever Dask it runs; and whoever is killed in the
middle of it, no row is lost or doubled, and it can go on."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from distributed.security import Security

from explorer.fleet import Dataset
from tests.conftest import FIXTURES
from tests.crashing import crashing_plugin
from tests.fleets import told_otherwise
from tests.fuzz.formats import mutate_bytes

from .conftest import Start

_PATIENCE_S = 240
#: A task reads many targets however slow the machine is.
_MANY_AT_ONCE = """
import explorer.fleet.running.run as run
from explorer.cli import main
run._SECONDS_AT_ONCE = 100
main()
"""


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    """What it said on stderr."""
    _, said = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == code, said
    return said


def rows(fleet: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = Dataset.open(fleet).table("targets").to_pylist()
    return found


def paths_of(fleet: Path) -> Counter[str]:
    return Counter(str(row["path"]) for row in rows(fleet))


def everything_in(folder: Path) -> Counter[str]:
    return Counter(map(str, folder.iterdir()))


def wait_for_rows(fleet: Path, process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Until workers read. Returns the readers' parents: the processes that Dask's workers started."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        found = [
            each
            for each in psutil.Process(process.pid).children(recursive=True)
            if each.is_running() and "fleet-reader" in (each.cmdline() if each.status() != "zombie" else [])
        ]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("nobody reads")


@pytest.fixture(scope="module")
def whole(fleet_files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of the whole folder that nobody disturbed; and what it said."""
    fleet = tmp_path_factory.mktemp("whole") / "fleet"
    command = [
        sys.executable,
        "-m",
        "explorer",
        "fleet",
        "run",
        str(fleet_files),
        "-o",
        str(fleet),
        "--workers",
        "2",
    ]
    command.append("--keep-snapshots")
    result = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True)
    return fleet, result.stderr


def test_every_target_is_a_row_and_says_what_the_single_commands_say(
    whole: tuple[Path, str], fleet_files: Path
) -> None:
    fleet, said = whole
    assert paths_of(fleet) == everything_in(fleet_files)
    assert said.startswith(f"{fleet}: 43 targets read (")
    dataset = Dataset.open(fleet)
    for path in sorted(fleet_files.iterdir())[::4]:
        assert told_otherwise(dataset, path) == [], path.name
    outcomes = Counter(str(row["outcome"]) for row in rows(fleet))
    assert set(outcomes) == {"ok", "partial"}
    assert {row["verdict"] for row in rows(fleet)} == {"isolated", "abandoned", "shared"}
    hosts = [str(row["host"]) for row in rows(fleet) if row["kind"] == "snapshot"]
    assert sorted(hosts) == [f"host-{index:05d}" for index in range(40)]


def test_a_kept_snapshot_says_what_its_rows_say(whole: tuple[Path, str]) -> None:
    dataset = Dataset.open(whole[0])
    row = next(row for row in rows(whole[0]) if row["kind"] == "vmcore")
    snapshot = dataset.snapshot_of(str(row["key"]))
    assert snapshot is not None
    from explorer.codec import load_snapshot

    loaded = load_snapshot(snapshot)
    assert (len(loaded.tasks), loaded.kernel.release) == (row["tasks"], row["release"])


def test_what_is_in_it_already_is_not_read_again(
    whole: tuple[Path, str], fleet_files: Path, start: Start
) -> None:
    before = rows(whole[0])
    said = finish(start("fleet", "run", fleet_files, "-o", whole[0], "--workers", "1"))
    assert said.strip() == f"{whole[0]}: 0 targets read, 43 in it already"
    assert rows(whole[0]) == before


def test_whatever_targets_do_each_is_a_row_that_says_so(tmp_path: Path, start: Start) -> None:
    """Good ones, and those that crash the reader, hang, are damaged, or are not there, in one run."""
    folder = tmp_path / "bad"
    folder.mkdir()
    for layout in ("legacy-6.1", "rfc-v1", "nullfs-rootfs"):
        (folder / f"{layout}.elf.zst").write_bytes(FIXTURES[layout].read_bytes())
    rng, good = random.Random(5), FIXTURES["rfc-v1"].read_bytes()
    damaged = {mutated for _ in range(12) if (mutated := mutate_bytes(good, rng, high=4096)) != good}
    for number, content in enumerate(sorted(damaged)[:6]):
        (folder / f"damaged-{number}.elf.zst").write_bytes(content)
    (folder / "empty.elf").touch()
    judges = (
        "release = snapshot.kernel.release; "
        "release[0] == '6' and ctypes.string_at(0); 'deb14' in release and time.sleep(600)"
    )
    (tmp_path / "list").write_text(f"{folder}\n{tmp_path}/not-there\n")
    plugin = crashing_plugin(tmp_path, collect="pass", audit=judges)
    words = (
        "fleet",
        "run",
        f"@{tmp_path}/list",
        "-o",
        "fleet",
        "--plugin",
        plugin,
        "--timeout",
        "40s",
        "--workers",
        "2",
    )
    finish(start(*words))
    found = {Path(str(row["path"])).name: row for row in rows(tmp_path / "fleet")}
    assert set(found) == {*(path.name for path in folder.iterdir()), "not-there"}
    outcomes = {name: row["outcome"] for name, row in found.items()}
    assert (outcomes["legacy-6.1.elf.zst"], found["legacy-6.1.elf.zst"]["signal"]) == ("crashed", "SIGSEGV")
    assert outcomes["nullfs-rootfs.elf.zst"] == "timeout"
    assert outcomes["rfc-v1.elf.zst"] == "ok"
    assert outcomes["empty.elf"] == outcomes["not-there"] == "cannot-open"
    became = {outcomes[f"damaged-{number}.elf.zst"] for number in range(6)}
    assert became <= {"ok", "partial", "cannot-open"} and "cannot-open" in became
    assert all(row["why"] for row in found.values() if row["outcome"] != "ok")


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    tmp_path: Path, fleet_files: Path, start: Start
) -> None:
    process = start("fleet", "run", fleet_files, "-o", "fleet", "--workers", "2")
    reader = wait_for_rows(tmp_path / "fleet", process)[0]
    reader.parent().kill()
    finish(process)
    assert paths_of(tmp_path / "fleet") == everything_in(fleet_files)
    assert not reader.is_running() or reader.status() == "zombie", "what the worker had started ended with it"


def test_of_targets_that_one_task_reads_the_one_that_kills_its_worker_takes_no_other_with_it(
    tmp_path: Path, fleet_files: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for want of memory, whenever it is read: a plugin says that it is, and waits to be killed for it."""
    folder = tmp_path / "targets"
    folder.mkdir()
    for path in fleet_files.glob("host-*"):
        (folder / path.name).write_bytes(path.read_bytes())
    victim = folder / "host-00030-victim.elf.zst"  # plugins collect from dumps only
    victim.write_bytes(FIXTURES["rfc-v1"].read_bytes())
    plugin = crashing_plugin(tmp_path, "ctypes.CDLL(None).prctl(15, b'victim'); time.sleep(600)")
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    words = ("fleet", "run", folder, "-o", "fleet", "--workers", "2", "--plugin", plugin)
    process = start(*words, python=("-c", _MANY_AT_ONCE))
    killed, deadline = 0, time.monotonic() + _PATIENCE_S
    while process.poll() is None:
        assert time.monotonic() < deadline
        for each in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if each.name() == "victim":
                    next(above for above in each.parents() if "spawn_main" in str(above.cmdline())).kill()
                    killed += 1
                    each.wait()
        time.sleep(0.1)
    finish(process)
    assert killed == 2, "once with others, and once alone"
    assert paths_of(tmp_path / "fleet") == everything_in(folder)
    ended = {row["path"] for row in rows(tmp_path / "fleet") if row["outcome"] == "crashed"}
    assert ended == {str(victim)}


def test_a_client_that_is_killed_in_the_middle_can_go_on(
    tmp_path: Path, fleet_files: Path, start: Start
) -> None:
    process = start("fleet", "run", fleet_files, "-o", "fleet", "--workers", "2")
    wait_for_rows(tmp_path / "fleet", process)
    process.kill()
    process.communicate(timeout=_PATIENCE_S)
    finish(start("fleet", "run", fleet_files, "-o", "fleet", "--workers", "2"))
    assert paths_of(tmp_path / "fleet") == everything_in(fleet_files)


def test_ctrl_c_ends_it_cleanly_and_what_was_read_is_written(
    tmp_path: Path, fleet_files: Path, start: Start
) -> None:
    process = start("fleet", "run", fleet_files, "-o", "fleet", "--workers", "2")
    children = psutil.Process(wait_for_rows(tmp_path / "fleet", process)[0].pid).parents()
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal sends it: to all of the group
    said = finish(process, 130)
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "Stopped."
    assert not any(each.is_running() for each in children[:1])
    assert paths_of(tmp_path / "fleet") <= everything_in(fleet_files)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[str]]]:
    """A scheduler and two workers, each a process of its own, over TCP on loopback with TLS; its address, and the
    options that let a client in."""
    directory = tmp_path_factory.mktemp("cluster")
    config = Security.temporary().get_tls_config_for_role("client")  # type: ignore[no-untyped-call]
    (directory / "ca.pem").write_text(config["ca_file"])
    (directory / "cert.pem").write_text(config["cert"])
    (directory / "key.pem").write_text(config["key"])
    tls = [
        word
        for name, file in (("--tls-ca-file", "ca"), ("--tls-cert", "cert"), ("--tls-key", "key"))
        for word in (name, str(directory / f"{file}.pem"))
    ]
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*dask, "--host", "tls://127.0.0.1", "--port", "0", "--no-dashboard", *tls,
         "--scheduler-file", str(directory / "scheduler.json")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    processes = [scheduler]
    try:
        assert scheduler.stderr is not None
        found = None
        for line in scheduler.stderr:
            found = re.search(r"tls://127\.0\.0\.1:\d+", line)
            if found:
                break
        assert found is not None, "the scheduler has not said where it listens"
        processes += [
            subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", found[0], "--nthreads", "1", "--no-dashboard",
                 "--no-nanny", "--local-directory", str(directory), *tls],
                stderr=subprocess.DEVNULL, text=True,
            )
            for _ in range(2)
        ]  # fmt: skip
        yield found[0], [word.replace("--tls-ca-file", "--tls-ca") for word in tls]
    finally:
        for process in reversed(processes):  # a worker that loses its scheduler waits for another one
            process.kill()
            process.communicate()


def test_a_cluster_of_three_processes_with_tls_gives_the_same_rows(
    cluster: tuple[str, list[str]], whole: tuple[Path, str], tmp_path: Path, fleet_files: Path, start: Start
) -> None:
    address, tls = cluster
    finish(start("fleet", "run", fleet_files, "-o", "fleet", "--scheduler", address, *tls))
    here, there = Dataset.open(whole[0]), Dataset.open(tmp_path / "fleet")
    for table in ("tasks", "fs_structs", "findings", "errors"):
        # Of the same target the same rows, in whatever order targets were read.
        mine, theirs = (sorted(map(str, dataset.table(table).to_pylist())) for dataset in (here, there))
        assert mine == theirs, table
    assert _lasting(rows(whole[0])) == _lasting(rows(tmp_path / "fleet"))


def _lasting(found: list[dict[str, object]]) -> list[list[object]]:
    """Rows without what another run of the same gives another value: when and where it was, and what it took."""
    of_run = {"analysed_at", "seconds", "cpu_seconds", "peak_bytes", "snapshot"}
    return sorted(
        [
            str(row[name])
            for name in row
            if name not in of_run and (name != "taken_at" or row["kind"] == "snapshot")
        ]
        for row in found
    )


def test_a_cluster_that_asks_for_a_certificate_lets_nobody_in_without(
    cluster: tuple[str, list[str]], tmp_path: Path, start: Start
) -> None:
    said = finish(start("fleet", "run", "sample", "-o", "fleet", "--scheduler", cluster[0]), 3)
    assert said == (
        f"nullfs-explorer: {cluster[0]} asks for a certificate: give --tls-ca, --tls-cert and --tls-key\n"
    )
