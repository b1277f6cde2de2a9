"""The library gives what the commands print: from a name, a kernel that is open, a program of drgn's, or a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import drgn
import pytest
import zstandard

from explorer import (
    QueryError,
    RecordingError,
    Snapshot,
    SnapshotError,
    TargetError,
    audit,
    capture,
    load,
    open_target,
    query,
)
from tests.conftest import DATA, SAMPLE, Run

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


@pytest.fixture(scope="module")
def vmcore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as drgn can open it: not compressed."""
    path = tmp_path_factory.mktemp("vmcore") / "sample.elf"
    with SAMPLE.open("rb") as packed, path.open("wb") as plain:
        zstandard.ZstdDecompressor().copy_stream(packed, plain)
    return path


@pytest.fixture(scope="module")
def captured() -> Snapshot:
    return capture("sample")


def contents(snapshot: Snapshot) -> dict[str, object]:
    """All of it but how and when it was captured."""
    return snapshot.model_dump(exclude={"capture"})


def test_a_capture_by_name_and_of_an_open_kernel_are_one_and_what_the_command_exports(
    captured: Snapshot, run: Run
) -> None:
    with open_target("sample") as kernel:
        assert contents(capture(kernel)) == contents(captured)
    exported = json.loads(run("snapshot", "sample").stdout)
    assert exported["tasks"] == captured.model_dump(mode="json")["tasks"]
    assert exported["plugins"] == captured.plugins


def test_a_program_of_drgns_without_debug_info_gives_the_same_and_stays_as_it_is(
    vmcore: Path, captured: Snapshot
) -> None:
    prog = drgn.Program()
    prog.set_core_dump(vmcore)
    finders = prog.enabled_type_finders(), prog.enabled_symbol_finders(), prog.enabled_object_finders()
    for _ in range(2):
        assert contents(capture(prog)) == contents(captured)
    assert finders == (
        prog.enabled_type_finders(),
        prog.enabled_symbol_finders(),
        prog.enabled_object_finders(),
    )


def test_a_program_that_nobody_knows_the_file_of_is_read_through(captured: Snapshot, vmcore: Path) -> None:
    beneath = open_target(vmcore)
    info = beneath.program.vmcoreinfo.raw
    prog = drgn.Program(drgn.Platform(drgn.Architecture.X86_64), vmcoreinfo=info)

    def read(address: int, count: int, offset: int, physical: bool) -> bytes:
        return bytes(beneath.prog.read(address, count, physical))

    prog.add_memory_segment(0, (1 << 64) - 1, read, physical=True)
    prog.set_linux_kernel_custom(info, is_live=False)
    with beneath:
        snapshot = capture(prog)
    assert snapshot.tasks == captured.tasks
    assert snapshot.fs_structs == captured.fs_structs
    assert snapshot.capture.source.target == "drgn's program"


def test_a_program_that_is_no_kernel_is_refused_in_one_line() -> None:
    with pytest.raises(TargetError, match="not a Linux kernel"):
        capture(drgn.Program())
    prog = drgn.Program()
    prog.set_pid(os.getpid())
    with pytest.raises(TargetError, match="not a Linux kernel"):
        capture(prog)


def test_load_takes_what_was_saved_and_says_what_else_a_file_is(tmp_path: Path, run: Run) -> None:
    assert run("snapshot", "sample", "-o", "saved.json.zst").returncode == 0
    assert load(tmp_path / "saved.json.zst").tasks == capture("sample").tasks
    assert (
        load(f"{DATA / 'boot-7.3.nxrec'}@#60").capture.taken_at
        < load(DATA / "boot-7.3.nxrec").capture.taken_at
    )
    with pytest.raises(TargetError, match="capture it"):
        load(SAMPLE)
    with pytest.raises(TargetError, match="no such file"):
        load("nothing.json")
    with pytest.raises(RecordingError):
        load(f"{DATA / 'boot-7.3.nxrec'}@#99999")
    (tmp_path / "newer.json").write_text('{"schema_version": 99}')
    with pytest.raises(SnapshotError, match="99"):
        load(tmp_path / "newer.json")


def test_a_query_and_an_audit_say_what_the_commands_say(captured: Snapshot, run: Run) -> None:
    assert [task.comm for task in query(captured, "borrowing")] == ["borrower"]
    printed = json.loads(run("audit", "sample", "--format", "json").stdout)
    report = audit(captured)
    assert [finding.title for finding in report.findings] == [one["title"] for one in printed["findings"]]
    assert report.worst() == printed["findings"][0]["severity"]
    only = audit(captured, where="pid:142")
    assert {finding.rule for finding in only.findings} < {finding.rule for finding in report.findings}
    assert only.hidden == len(report.findings) - len(only.findings)
    assert not {"NX-KSMBD-GONE-PATH"} & {finding.rule for finding in audit(captured, plugins=False).findings}
    for ask in (lambda: query(captured, "pdi:1"), lambda: audit(captured, where="pdi:1")):
        with pytest.raises(QueryError, match="pdi"):
            ask()


def test_tables_have_every_task_and_lose_no_bit_of_an_address(captured: Snapshot) -> None:
    frame, table = captured.to_pandas(), captured.to_arrow()
    assert table.num_rows == len(frame) == len(captured.tasks)
    assert [int(address) for address in frame["address"]] == [task.address for task in captured.tasks]
    assert table["fs"].to_pylist() == [task.fs for task in captured.tasks]
    assert list(frame[frame["borrowing"]]["comm"]) == ["borrower"]
    of_kernel = frame[(frame["kind"] == "kthread") & (frame["placement"] == "nullfs")]
    assert len(of_kernel) == len(query(captured, "kind:kthread placement:nullfs")) > 5
    assert set(frame["umask"].dropna()) == {int(fs.umask, 8) for fs in captured.fs_structs if fs.umask}
    assert frame["threadfn"].isna().sum() > 5, "what is not there is missing"


def test_text_in_a_table_is_escaped_and_a_number_that_does_not_fit_is_missing(captured: Snapshot) -> None:
    hostile = captured.model_copy(deep=True)
    hostile.tasks[1].comm, hostile.tasks[1].ppid = "\x1b[2J\udcff", (1 << 64) - 1
    row = hostile.to_arrow().slice(1, 1).to_pylist()[0]
    assert row["comm"] == "\\e[2J\\xff"
    assert row["ppid"] is None


def test_whoever_has_no_pandas_is_told_what_to_install(
    captured: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'nullfs-explorer[data]'")):
        captured.to_pandas()


def run_example(name: str, *words: str | Path) -> str:
    result = subprocess.run(
        [sys.executable, EXAMPLES / name, *words], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_example_of_borrowers_names_the_one_of_the_sample() -> None:
    assert run_example("who_borrows.py", SAMPLE).splitlines() == [
        "borrower (142) borrows, at /f/core",
        "The worst finding is high.",
    ]


def test_the_example_with_pandas_counts_what_the_table_shows(
    captured: Snapshot, tmp_path: Path, run: Run
) -> None:
    run("snapshot", "sample", "-o", "saved.json")
    printed = run_example("shared_roots.py", tmp_path / "saved.json")
    in_nullfs = len(query(captured, "kind:kernel placement:nullfs"))
    assert re.search(rf"nullfs +kernel +{in_nullfs}$", printed, re.MULTILINE)
    assert f"0x{captured.kernel.init_fs:x}: {in_nullfs} tasks" in printed


def test_what_the_page_shows_of_an_example_is_in_its_file() -> None:
    page = (EXAMPLES.parent / "library.md").read_text()
    shown = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    files = [path.read_text() for path in EXAMPLES.glob("*.py")]
    assert len(shown) == len(files) == 3
    assert all(any(block in file for file in files) for block in shown)
