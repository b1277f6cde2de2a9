"""The command line as scripts use it: exit codes, one clear line for an error, and output that is whole."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import zstandard

from tests.conftest import FIXTURES, Run

RFC = FIXTURES["rfc-v1"]


def assert_one_clear_line(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert result.returncode == code, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "fault of this program" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_the_json_export_is_what_the_schema_says(run: Run) -> None:
    schema = json.loads(run("schema").stdout)
    result = run("snapshot", RFC)
    assert result.returncode == 0, result.stderr
    jsonschema.validate(json.loads(result.stdout), schema)


def test_the_export_keeps_the_contracts_field_names(run: Run) -> None:
    document = json.loads(run("snapshot", RFC).stdout)
    assert {"schema_version", "capture", "kernel", "tasks", "fs_structs", "mounts", "mount_namespaces", "plugins",
            "errors"} <= set(document)  # fmt: skip
    assert {"tool_version", "taken_at", "source", "types", "duration_s", "consistent"} <= set(
        document["capture"]
    )
    assert {"release", "build_id", "generation", "init_fs", "userspace_init_fs", "knullfs"} <= set(
        document["kernel"]
    )
    assert {"address", "pid", "tgid", "ppid", "comm", "kind", "state", "flags", "fs", "real_fs", "borrowing", "owner",
            "mnt_ns", "kthread"} <= set(document["tasks"][0])  # fmt: skip
    assert {"address", "users", "sharers", "umask", "in_exec", "seq", "root", "pwd"} <= set(
        document["fs_structs"][0]
    )
    assert {"mount", "dentry", "path", "fstype", "placement"} <= set(document["fs_structs"][0]["root"])
    assert {"address", "id", "unique_id", "parent", "mnt_ns", "superblock", "fstype", "magic", "source", "mountpoint",
            "flags", "overmount"} <= set(document["mounts"][0])  # fmt: skip
    assert {"address", "inum", "root", "visible_root", "nr_mounts"} <= set(document["mount_namespaces"][0])


def test_arrays_are_sorted_so_that_two_exports_diff_well(run: Run) -> None:
    document = json.loads(run("snapshot", RFC).stdout)
    tasks = [(task["pid"], int(task["address"], 16)) for task in document["tasks"]]
    assert tasks == sorted(tasks)
    for array in ("fs_structs", "mounts", "mount_namespaces"):
        addresses = [int(record["address"], 16) for record in document[array]]
        assert addresses == sorted(addresses)


def test_a_saved_snapshot_gives_the_same_table_as_its_kernel(run: Run, tmp_path: Path) -> None:
    for name in ("a.json", "a.json.zst"):
        assert run("snapshot", RFC, "-o", name).returncode == 0
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        for extra in ([], ["--all"]):
            from_kernel = run("tasks", RFC, *extra).stdout.splitlines()
            saved = run("tasks", name, *extra).stdout.splitlines()
            assert saved[0] == from_kernel[0]  # the verdict; then what was read, and when
            assert saved[3:] == from_kernel[3:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.json.zst"]


def test_jsonl_holds_every_record_of_the_json(run: Run) -> None:
    document = json.loads(run("snapshot", RFC).stdout)
    lines = [json.loads(line) for line in run("snapshot", RFC, "--format", "jsonl").stdout.splitlines()]
    assert lines[0]["type"] == "snapshot"
    assert lines[0]["kernel"] == document["kernel"]
    for array, kind in (("tasks", "task"), ("fs_structs", "fs_struct"), ("mounts", "mount")):
        records = [{k: v for k, v in line.items() if k != "type"} for line in lines if line["type"] == kind]
        assert records == document[array]


def test_csv_has_one_row_a_task_with_its_root(run: Run) -> None:
    document = json.loads(run("snapshot", RFC).stdout)
    rows = list(csv.DictReader(io.StringIO(run("snapshot", RFC, "--format", "csv").stdout)))
    assert [int(row["pid"]) for row in rows] == [task["pid"] for task in document["tasks"]]
    assert {row["placement"] for row in rows if row["comm"] == "kthreadd"} == {"nullfs"}


def test_a_hostile_task_name_reaches_no_output_as_control_bytes(run: Run) -> None:
    for arguments in (["tasks", RFC, "--all"], ["snapshot", RFC], ["snapshot", RFC, "--format", "csv"]):
        out = run(*arguments).stdout
        assert "evil" in out
        assert not [c for c in out if ord(c) < 32 and c not in "\r\n"], arguments


def test_errors_of_the_command_line_exit_with_2(run: Run) -> None:
    assert run("snapshot").returncode == 2
    assert run("snapshot", RFC, "--core", RFC).returncode == 2
    assert run("snapshot", RFC, "--format", "xml").returncode == 2
    assert_one_clear_line(run("snapshot", RFC, "-o", "no/such/dir.json"), 2, "no/such")
    assert_one_clear_line(run("snapshot", RFC, "-o", "."), 2, "directory")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("taks", "sample"), "taks is no command, and there is no file of that name; did you mean tasks?"),
        (("nosuch",), "nosuch is no command"),
        (("tasks",), "Missing TARGET"),
        (("tasks", "sample", "--nosuch"), "No such option"),
        (("tasks", "sample", "--plugin", "nosuch.py"), "nosuch.py"),
        (("snapshot", "sample", "-o", ""), "an empty name"),
        (("slice", "sample", "-o", "-"), "standard output"),
        (("explain", "NOPE"), "no rule NOPE"),
        (("diff", "sample"), "Two targets"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_is_wrong(
    words: tuple[str, ...], said: str, run: Run, tmp_path: Path
) -> None:
    assert_one_clear_line(run(*words), 2, said)
    assert list(tmp_path.iterdir()) == []


def test_a_dash_is_standard_output_and_no_file(run: Run, tmp_path: Path) -> None:
    result = run("snapshot", RFC, "-o", "-")
    assert result.returncode == 0
    assert json.loads(result.stdout)["tasks"]
    assert list(tmp_path.iterdir()) == []


def test_hints_fit_what_was_asked_for(run: Run) -> None:
    assert "targets are" not in run("ko", "nosuch.ko").stderr
    assert_one_clear_line(run("tasks", "physmem:"), 3, "physmem:", "names nothing")
    assert run("snapshot", RFC, "-o", "s.jsonl").returncode == 0
    assert_one_clear_line(run("tasks", "s.jsonl"), 3, "JSON Lines")


def test_tasks_gives_the_verdict_of_the_audit_and_not_the_promise_of_its_generation(run: Run) -> None:
    """Of a kernel whose PID 1 had left userspace_init_fs it said that PID 1 owns it."""
    for name in FIXTURES:
        verdict = run("tasks", FIXTURES[name]).stdout.splitlines()[0]
        assert " ".join(run("audit", FIXTURES[name]).stdout.split()).startswith(" ".join(verdict.split())), (
            name
        )


def test_a_full_disk_is_one_line_and_leaves_no_device_replaced(run: Run) -> None:
    assert_one_clear_line(run("snapshot", RFC, "-o", "/dev/full"), 2, "No space left")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "explorer", "snapshot", str(RFC)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert_one_clear_line(result, 2, "No space left")


def test_a_failed_export_leaves_the_old_file_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    assert run("snapshot", "missing.elf", "-o", "old.json").returncode == 3
    assert (tmp_path / "old.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["no such file"]),
        (b"", ["empty"]),
        (b"hello, this is no dump\n" * 100, ["neither"]),
        (b'{"some": "json"}', ["schema_version"]),
        (b'{"schema_version": 99}', ["99", "update"]),
        (b'{"schema_version": 1}', ["no valid snapshot"]),
        (b'{"schema_version": 1, "tasks": [', ["cut off"]),
    ],
)
def test_a_file_that_is_no_target_is_one_line_and_exit_3(
    run: Run, tmp_path: Path, content: bytes | None, words: list[str]
) -> None:
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    assert_one_clear_line(run("tasks", "file"), 3, "file", *words)


@pytest.mark.parametrize("layout", ["rfc-v1", "isolated"])
def test_a_kernel_without_btf_is_refused_with_the_remedy(run: Run, tmp_path: Path, layout: str) -> None:
    with FIXTURES[layout].open("rb") as packed:
        dump = zstandard.ZstdDecompressor().stream_reader(packed).read()
    # BTF: magic, version, flags, header length. Modules have some too: vmlinux's has by far the most types.
    headers = [found.start() for found in re.finditer(rb"\x9f\xeb\x01\x00\x18\x00\x00\x00", dump)]
    start = max(headers, key=lambda at: int.from_bytes(dump[at + 12 : at + 16], "little"))
    (tmp_path / "no-btf.elf").write_bytes(dump[:start] + bytes(4096) + dump[start + 4096 :])
    assert_one_clear_line(run("snapshot", "no-btf.elf", "--no-cache"), 3, "BTF", "-s")


def test_a_dump_of_another_architecture_is_refused_by_name(run: Run, tmp_path: Path) -> None:
    with FIXTURES["rfc-v1"].open("rb") as packed:
        dump = bytearray(zstandard.ZstdDecompressor().stream_reader(packed).read())
    dump[18:20] = (183).to_bytes(2, "little")  # e_machine = EM_AARCH64
    (tmp_path / "arm.elf").write_bytes(dump)
    assert_one_clear_line(run("snapshot", "arm.elf"), 3, "x86_64")


def test_a_socket_that_nobody_serves_is_one_line(run: Run, tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    assert_one_clear_line(run("tasks", f"qemu:{dead}"), 3, "dead")
    assert_one_clear_line(run("tasks", "qemu:127.0.0.1:1"), 3, "127.0.0.1:1")


def test_the_shell_can_complete_commands() -> None:
    environment = {"COMP_WORDS": "nullfs-explorer sn", "COMP_CWORD": "1"}
    result = subprocess.run(
        [Path(sys.executable).parent / "nullfs-explorer"],
        env={**os.environ, **environment, "_NULLFS_EXPLORER_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.split() == ["plain,snapshot", "file,sn"]


def test_a_closed_pipe_is_no_error_and_no_exit_code_of_one() -> None:
    command = f"set -o pipefail; {sys.executable} -m explorer snapshot {RFC} | head -c 10"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_help_imports_neither_drgn_nor_textual_nor_pydantic() -> None:
    code = (
        "import sys\nfrom explorer.cli.command import cli\n"
        "cli.main(['--help'], standalone_mode=False)\n"
        "print([m for m in ('drgn', 'textual', 'pydantic', 'zstandard') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("command", "needed", "more"),
    [
        (
            "tasks",
            "explorer.capture.snapshot",
            ("explorer.plugins", "explorer.capture.rest", "importlib.metadata", "zipfile", "json"),
        ),
        ("snapshot", "explorer.plugins._waiters", ()),
    ],
)
def test_a_capture_imports_no_command_of_drgns_no_rule_and_no_helper_that_it_does_not_call(
    command: str, needed: str, more: tuple[str, ...]
) -> None:
    """Half of what the task table took to start was that; nobody sees it but by the clock."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "explorer", command, "sample"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert {"drgn", needed} <= imported
    heavy = ("drgn.cli", "drgn.commands", "drgn.helpers.linux", "drgn.helpers.common.memory", "textual")
    more += ("explorer.analysis.rules", "explorer.procfs", "explorer.targets.qemu")
    assert not {name for name in imported if name.startswith((*heavy, *more))}


def test_a_slice_gives_the_same_snapshot_as_its_kernel(run: Run, tmp_path: Path) -> None:
    assert run("slice", RFC, "-o", "again.elf").returncode == 0
    one, two = (json.loads(run("snapshot", path, "--no-cache").stdout) for path in (RFC, "again.elf"))
    for key in ("kernel", "tasks", "fs_structs", "mounts", "mount_namespaces", "errors"):
        assert one[key] == two[key]
    assert stat.S_IMODE((tmp_path / "again.elf").stat().st_mode) == 0o600


def test_doctor_names_a_remedy_for_every_lack(run: Run) -> None:
    result = run("doctor", env={"XDG_CACHE_HOME": "/proc"})
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    lacks = [index for index, line in enumerate(lines) if line.startswith("  lack")]
    assert lacks
    for index in lacks:
        assert lines[index + 1].startswith("        "), lines[index]


def test_a_stext_that_is_no_kernel_address_ends_in_one_line(run: Run, tmp_path: Path) -> None:
    plain = zstandard.ZstdDecompressor().decompressobj().decompress(RFC.read_bytes())
    damaged, changed = re.subn(rb"(SYMBOL\(_stext\)=)[0-9a-f]{16}", rb"\g<1>" + b"0" * 16, plain)
    assert changed
    (tmp_path / "damaged.elf").write_bytes(damaged)
    assert_one_clear_line(run("tasks", "damaged.elf", "--no-cache"), 3, "_stext")


_EXHAUSTED = """
import importlib
main = importlib.import_module("explorer.cli.command")
def exhausted(*_, **__):
    raise MemoryError
main.cli.main = main._known_errors = exhausted
main.main(["tasks", "sample"])
"""


def test_without_memory_left_nothing_is_imported_to_say_so() -> None:
    """The fault is made: what could ask for memory once more, fails once more."""
    ended = subprocess.run([sys.executable, "-c", _EXHAUSTED], capture_output=True, text=True, check=False)
    assert_one_clear_line(ended, 3, "nullfs-explorer: out of memory:")


@pytest.mark.parametrize("command", ["timeline", "frame"])
def test_a_target_that_is_no_recording_is_not_called_a_missing_file(run: Run, command: str) -> None:
    result = run(command, "sample")
    assert result.returncode == 3
    assert "sample is one moment and no recording" in result.stderr
