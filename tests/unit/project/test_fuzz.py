"""500 cases of the fuzzing harness, with a fixed seed; and what earlier cases have found."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from explorer.capture.request import CaptureRequest
from explorer.capture.snapshot import capture_snapshot
from explorer.codec.snapshots import SnapshotError, load_snapshot
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenOptions, open_kernel
from explorer.targets.symbols.btf import Btf, BtfError, Kind
from explorer.targets.symbols.kallsyms import SymbolTable
from tests.conftest import FIXTURES, Run
from tests.fuzz.worker import MUTATORS
from tests.unit.btf_builder import BtfBuilder

ROOT = Path(__file__).parents[3]
SEED = 20261123
CASES = 500


def test_no_damage_ends_in_a_traceback_a_hang_a_signal_or_an_escape(tmp_path: Path) -> None:
    # In a process of its own: a case may have 1 GiB of address space, and pytest has much of that already.
    found = tmp_path / "found.json"
    command = [
        sys.executable,
        "-m",
        "tests.fuzz",
        "--seed",
        str(SEED),
        "--cases",
        str(CASES),
        "--json",
        str(found),
    ]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    summary = json.loads(found.read_text())
    assert summary["failures"] == [], ended.stderr
    assert ended.returncode == 0
    assert sum(sum(counts.values()) for counts in summary["counts"].values()) == CASES
    assert set(summary["counts"]) == set(MUTATORS)
    outcomes = {outcome for counts in summary["counts"].values() for outcome in counts}
    assert {"whole", "refused", "honest errors"} <= outcomes


_ONE_CASE = """
import json, sys
from tests.fuzz.campaign import run_cases
from tests.fuzz.worker import Case
summary = run_cases(int(sys.argv[1]), [Case(sys.argv[2], int(sys.argv[3]))])
print(json.dumps(summary.as_dict()))
"""


def run_one(seed: int, mutator: str, number: int) -> tuple[dict[str, Any], str]:
    """What came of a case, and what was said. In a process of its own, as above: its memory is counted with that which
    its parent has."""
    command = [sys.executable, "-c", _ONE_CASE, str(seed), mutator, str(number)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found, ended.stderr


@pytest.mark.parametrize("mutator", ["mount-parents", "elf-headers"])
def test_a_case_is_the_same_case_when_it_is_run_again(mutator: str) -> None:
    (first, _), (second, _) = (run_one(SEED, mutator, 1) for _ in range(2))
    assert first["counts"] == second["counts"] != {}


@pytest.mark.parametrize(
    ("seed", "mutator", "number"),
    [
        (376925159, "btf", 211),  # struct module's list begins within a byte
        (2977917724, "btf", 373),  # a dentry's short name is a number
        (3673171854, "btf", 35),  # an integer of no bytes
        (11, "btf", 751),  # a mount namespace has neither a tree nor a list of mounts
        (29101, "btf", 55),  # struct idr lacks idr_rt
        (29102, "short-dumps", 34),  # where the log lies is not there, and its slice is redacted
    ],
)
def test_what_campaigns_have_found_is_found_no_more(seed: int, mutator: str, number: int) -> None:
    summary, said = run_one(seed, mutator, number)
    assert summary["failures"] == [], said
    assert sum(sum(counts.values()) for counts in summary["counts"].values()) == 1


def test_a_number_in_vmcoreinfo_that_is_none_is_refused_in_one_line(run: Run, tmp_path: Path) -> None:
    text = b"OSRELEASE=6.12.0\nPAGESIZE=4096\nSYMBOL(swapper_pg_dir)=ffffffff81000000\nNUMBER(phys_base)=\x1b[31m\n"
    (tmp_path / "info").write_bytes(text)
    result = run("tasks", FIXTURES["rfc-v1"], "--vmcoreinfo", "info")
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1
    assert "VMCOREINFO" in result.stderr and "\x1b" not in result.stderr


def test_a_small_file_that_becomes_a_large_snapshot_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json.zst"
    bomb.write_bytes(zstandard.compress(b'{"schema_version":1,"x":"' + b" " * (64 << 20) + b'"}'))
    with pytest.raises(SnapshotError, match="more than a snapshot of its size"):
        load_snapshot(bomb)


def test_a_snapshot_in_two_zstd_frames_is_read_to_its_end(run: Run, tmp_path: Path) -> None:
    run("snapshot", FIXTURES["rfc-v1"], "-o", "plain.json")
    plain = (tmp_path / "plain.json").read_bytes()
    halves = zstandard.compress(plain[:1000]) + zstandard.compress(plain[1000:])
    (tmp_path / "two.json.zst").write_bytes(halves)
    assert load_snapshot(tmp_path / "two.json.zst") == load_snapshot(tmp_path / "plain.json")


@pytest.mark.parametrize("facts", ["loaded", [], None, 7])
def test_facts_of_a_plugin_that_are_no_object_make_no_snapshot(
    run: Run, tmp_path: Path, facts: object
) -> None:
    run("snapshot", FIXTURES["rfc-v1"], "-o", "saved.json")
    document = json.loads((tmp_path / "saved.json").read_text())
    document["plugins"]["audit"] = facts
    (tmp_path / "saved.json").write_text(json.dumps(document))
    for command in ("audit", "plugins", "tasks"):
        result = run(command, "saved.json")
        assert (result.returncode, len(result.stderr.splitlines())) == (3, 1), result.stderr


def test_an_index_of_other_types_is_damage_and_not_another_type() -> None:
    builder = BtfBuilder()
    number = builder.integer("int", 4)
    builder.struct("first", 4, [("a", number, 0)])
    builder.struct("second", 4, [("b", number, 0)])
    btf = builder.btf()
    words = list(btf.index.names)
    # Every name leads to the type behind its own.
    moved = [word & ~((1 << 27) - 1) | (word & ((1 << 27) - 1)) % 3 + 1 for word in words]
    damaged = btf.index._replace(names=memoryview(struct.pack(f"<{len(moved)}Q", *moved)).cast("Q"))
    with pytest.raises(BtfError, match="index is damaged"):
        Btf(builder.section(), index=damaged).find("first", (Kind.STRUCT,))


def test_a_symbol_table_with_numbers_out_of_range_knows_fewer_symbols() -> None:
    words = struct.pack("<3I", 7, 0xFFFFFFFF, 1)
    table = SymbolTable(
        0xFFFFFFFF81000000,
        {
            "sym_addresses": struct.pack("<3Q", 1, 1 << 48, 1 << 63),
            "sym_starts": words,
            "sym_by_name": words,
            "sym_names": b"\2Ta\x82\xffTb\x81",
            "sym_tokens": b"\0".join([b"", *(bytes([code]) for code in range(1, 256))]),
            "sym_kinds": b"\xff" * 256,
        },
    )
    assert table.find("a") == []
    assert len(table.all()) == 3


def test_a_module_list_that_ends_in_null_costs_the_modules_alone() -> None:
    with open_kernel(detect_target(str(FIXTURES["isolated"])), OpenOptions()) as kernel:
        address = kernel.prog["modules"].address_
        assert address is not None
        kernel.prog.add_memory_segment(address, 8, lambda *read: bytes(read[1]), False)
        snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
        assert any("list of modules" in note for note in kernel.types.modules.notes)
    assert snapshot.tasks and snapshot.modules == []


_UNOPENED = """
import pathlib, sys
from tests.fuzz.ended import Ended
for prepare in (lambda: ["a kernel"], list):
    print(Ended(pathlib.Path(sys.argv[1]), ["tasks", "sample"], prepare, end_to_end=False).judge())
"""


def test_a_case_whose_command_never_opens_the_damaged_kernel_fails_and_counts_for_nothing(
    tmp_path: Path,
) -> None:
    """Half of all cases said nothing for an hour: modules that were imported before had the sound one's opener."""
    command = [sys.executable, "-c", _UNOPENED, str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=True)
    assert ended.stdout.splitlines() == ["('exit code 97: ', 'exit code')", "(None, 'whole')"]
