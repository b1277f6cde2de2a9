"""What makes a capture fast does not change what it shows."""

from __future__ import annotations

import gc
import io
import json
from pathlib import Path
from types import FunctionType, ModuleType

import drgn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.capture.memory.directmap import find_direct_map
from explorer.capture.memory.layout import probe_layout
from explorer.capture.memory.reader import MemoryReader
from explorer.capture.request import CaptureRequest, CaptureStats
from explorer.capture.snapshot import capture_snapshot
from explorer.codec.encode import RecordEncoder, encode_value
from explorer.codec.lines import parse_lines
from explorer.codec.snapshots import parse_snapshot, write_json, write_jsonl
from explorer.model import SNAPSHOT_ARRAYS, FsStruct, Snapshot, Task
from explorer.model.base import no_garbage_collection
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, open_kernel
from explorer.targets.symbols.kallsyms import (
    SymbolTable,
    TableSymbol,
    _load_raw,
    load_symbols,
    vmcoreinfo,
    vmcoreinfo_symbol,
)
from tests.conftest import FIXTURES, Run


@pytest.fixture(scope="module", params=sorted(FIXTURES))
def kernel(request: pytest.FixtureRequest) -> OpenKernel:
    return open_kernel(detect_target(str(FIXTURES[request.param])))


@pytest.fixture(scope="module")
def captured(kernel: OpenKernel) -> Snapshot:
    return capture_snapshot(CaptureRequest.from_kernel(kernel))


def _without_header(snapshot: Snapshot) -> dict[str, object]:
    return snapshot.model_dump(exclude={"capture"})


def test_a_record_that_is_asked_for_field_by_field_is_the_one_that_is_made_whole(kernel: OpenKernel) -> None:
    snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
    for records, record in ((snapshot.tasks, Task), (snapshot.fs_structs, FsStruct)):
        for one in records:
            apart = {name: getattr(one, name) for name in record.model_fields}
            assert apart == one.__dict__
            assert list(apart) == list(one.__dict__)
            assert record.model_validate(one.model_dump()) == one


def test_a_row_that_is_written_is_the_record_that_is_written(kernel: OpenKernel) -> None:
    snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
    rows, records = io.BytesIO(), io.BytesIO()
    write_json(snapshot, rows)
    for one in (*snapshot.tasks, *snapshot.fs_structs):
        assert one.__dict__  # makes it
    write_json(snapshot, records)
    assert rows.getvalue() == records.getvalue()


def test_a_snapshot_does_not_keep_the_kernel_that_it_was_made_of(kernel: OpenKernel) -> None:
    snapshot = capture_snapshot(CaptureRequest.from_kernel(kernel))
    pending, seen = [snapshot.__dict__], set()
    while pending:
        one: object = pending.pop()
        if id(one) in seen or isinstance(one, ModuleType | type):
            continue
        seen.add(id(one))
        assert not isinstance(one, drgn.Program | MemoryReader)
        known = one.__globals__ if isinstance(one, FunctionType) else None
        pending += [other for other in gc.get_referents(one) if other is not known]
    assert len(seen) > len(snapshot.tasks)


def test_reading_the_direct_map_as_physical_memory_shows_the_same(
    kernel: OpenKernel, captured: Snapshot
) -> None:
    request = CaptureRequest.from_kernel(kernel)
    by_page_tables = capture_snapshot(
        CaptureRequest(
            **{
                name: getattr(request, name)
                for name in CaptureRequest.__dataclass_fields__
                if name != "direct"
            },
            direct=False,
        )
    )
    assert _without_header(by_page_tables) == _without_header(captured)


def test_the_direct_map_of_the_sample_is_found_and_used() -> None:
    """Else the speed is gone and nothing else would tell."""
    with open_kernel(detect_target(str(FIXTURES["isolated"]))) as kernel:
        found = find_direct_map(kernel.prog, probe_layout(kernel.prog), kernel.types)
        assert found is not None
        start, end = found
        init = next(
            task for task in capture_snapshot(CaptureRequest.from_kernel(kernel)).tasks if task.pid == 1
        )
        assert start <= init.address < end


def test_a_second_capture_of_the_same_kernel_shows_the_same(kernel: OpenKernel, captured: Snapshot) -> None:
    again = capture_snapshot(CaptureRequest.from_kernel(kernel))
    assert _without_header(again) == _without_header(captured)
    kernel.types.refresh()
    assert _without_header(capture_snapshot(CaptureRequest.from_kernel(kernel))) == _without_header(captured)


def test_a_capture_leaves_nothing_to_the_garbage_collector(kernel: OpenKernel) -> None:
    """A circle would keep every raw task of every frame of a recording."""
    request = CaptureRequest.from_kernel(kernel)
    capture_snapshot(request)
    gc.collect()
    gc.disable()
    try:
        capture_snapshot(request)
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_garbage_collection_is_on_again_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError), no_garbage_collection():
        assert not gc.isenabled()
        _ = 1 // 0
    assert gc.isenabled()


def test_a_heap_that_somebody_froze_is_not_walked_for_each_frame_of_a_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To count what is frozen takes as long as there is of it: of a recording of thousands of frames, minutes."""
    counted: list[int] = []
    count = gc.get_freeze_count

    def counting() -> int:
        counted.append(1)
        return count()

    monkeypatch.setattr(gc, "get_freeze_count", counting)
    gc.collect()
    with no_garbage_collection():
        frame = [[] for _ in range(1_000)]  # type: ignore[var-annotated]
    assert counted == []
    with no_garbage_collection():
        snapshot = [[] for _ in range(200_000)]  # type: ignore[var-annotated]
    assert counted == [1]
    assert len(frame) + len(snapshot) == 201_000


def test_what_somebody_froze_stays_frozen_and_much_that_is_new_is_not_frozen() -> None:
    kept = [[] for _ in range(200_000)]  # type: ignore[var-annotated]
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with no_garbage_collection():
            more = [[] for _ in range(200_000)]  # type: ignore[var-annotated]
        assert frozen >= len(kept) > 0
        assert frozen - 1_000 < gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()
    gc.collect()
    with no_garbage_collection():
        again = [[] for _ in range(200_000)]  # type: ignore[var-annotated]
    assert gc.get_freeze_count() < len(again) / 10, "Python 3.12 has some hundreds there of its own"
    assert gc.get_count()[0] < 100_000, "they would be walked at once"
    assert len(more) == len(again)


def test_strings_are_read_to_their_end_across_pages(kernel: OpenKernel) -> None:
    """The kernel's own banner, and pieces of it: as drgn reads it byte by byte."""
    reader, banner = MemoryReader(kernel.prog), kernel.types.symbol_address("linux_banner")
    assert banner is not None
    try:
        expected = kernel.prog.read_c_string(banner, max_size=4096)
    except Exception:  # noqa: BLE001  # a slice without the page of the banner
        pytest.skip("the banner is not in this slice")
    assert reader.read_c_string(banner, 4096) == expected
    for size in (0, 1, 63, 64, 65, 100):
        assert reader.read_c_string(banner, size) == expected[:size]


def test_records_encoded_by_hand_are_what_pydantic_and_json_make_of_them(captured: Snapshot) -> None:
    encoder = RecordEncoder()
    records = [record for name in SNAPSHOT_ARRAYS for record in getattr(captured, name)]
    assert records
    for record in records:
        assert encoder.encode(record) == encode_value(record.model_dump(mode="json"))


_WORD = st.integers(0, 2**64 - 1)
_NUMBER = st.integers(-(2**63), 2**64 - 1)
_SECONDS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
_TASK_NUMBERS = dict.fromkeys(("pid", "tgid", "ppid", "start_time"), _NUMBER) | {"waiting_s": _SECONDS}
_FS_NUMBERS = {"sharers": _NUMBER} | dict.fromkeys(("users", "in_exec", "seq"), st.none() | _NUMBER)
_NO_RECORD = {"kthread": st.none(), "walk": st.none(), "stack": st.none()}
_POINTERS = {name: st.none() | _WORD for name in ("fs", "real_fs", "mnt_ns", "user_ns")}


@given(
    st.builds(
        Task,
        address=_WORD,
        flags=_WORD,
        comm=st.none() | st.text(),
        **_POINTERS,
        **_NO_RECORD,
        **_TASK_NUMBERS,
    )
)
def test_any_task_is_encoded_as_pydantic_would(task: Task) -> None:
    assert RecordEncoder().encode(task) == encode_value(task.model_dump(mode="json"))


@given(st.builds(FsStruct, address=_WORD, root=st.none(), pwd=st.none(), **_FS_NUMBERS))
def test_any_fs_struct_is_encoded_as_pydantic_would(fs: FsStruct) -> None:
    assert RecordEncoder().encode(fs) == encode_value(fs.model_dump(mode="json"))


def _text(snapshot: Snapshot) -> bytes:
    out = io.BytesIO()
    write_json(snapshot, out)
    return out.getvalue()


def test_json_read_line_by_line_is_what_json_read_whole_is(captured: Snapshot) -> None:
    text = _text(captured)
    read = parse_lines([text])
    assert read is not None
    assert read == Snapshot.model_validate(json.loads(text)) == parse_snapshot(text, "x")
    assert _text(read) == text


def test_json_in_another_layout_is_read_whole(captured: Snapshot) -> None:
    text = json.dumps(json.loads(_text(captured)), indent=1).encode()
    assert parse_lines([text]) is None
    assert parse_snapshot(text, "x") == captured


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\n],", b",\n],"),
        (b"},\n{", b"}\n{"),
        (b'"tasks":[', b'"kasks":['),
        (b'"fs_structs":[', b'"tasks":['),
        (b'"pid":', b'"pid":x'),
        (b"\n}\n", b"\n"),
        (b"\n}\n", b"\n}\nx"),
        (b'{"schema_version":1,', b'{"schema_version":99,'),
    ],
)
def test_text_that_is_not_what_write_json_writes_is_not_taken_for_it(
    captured: Snapshot, old: bytes, new: bytes
) -> None:
    text = _text(captured)
    assert old in text
    assert parse_lines([text.replace(old, new, 1)]) is None


def test_jsonl_has_the_records_of_json(captured: Snapshot) -> None:
    out = io.BytesIO()
    write_jsonl(captured, out)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    document = json.loads(_text(captured))
    for name, kind in (("tasks", "task"), ("fs_structs", "fs_struct"), ("mounts", "mount")):
        assert [line for line in lines if line["type"] == kind] == [
            {"type": kind, **record} for record in document[name]
        ]


def test_paths_that_many_hold_are_one_record_after_loading(captured: Snapshot) -> None:
    read = parse_lines([_text(captured)])
    assert read is not None
    held = [path for fs in read.fs_structs for path in (fs.root, fs.pwd) if path is not None]
    assert len({id(path) for path in held}) == len({tuple(path.__dict__.values()) for path in held})


def test_symbols_read_at_once_are_those_that_drgn_reads(kernel: OpenKernel) -> None:
    """Names, addresses, sizes, kinds; and each is found by its name."""
    from drgn.helpers.linux.kallsyms import load_vmlinux_kallsyms

    base = vmcoreinfo_symbol(vmcoreinfo(kernel.prog), "_stext")
    assert base is not None
    plain = open_kernel(detect_target(kernel.source.target)).prog
    by_drgn = SymbolTable.build(base, load_vmlinux_kallsyms(plain)(plain, None, None, False))
    read = load_symbols(kernel.prog)
    expected = sorted(by_drgn.all(), key=_by_address)
    assert sorted(read.all(), key=_by_address) == expected
    for symbol in expected[::97]:
        assert symbol in read.find(symbol.name)
        assert read.find(symbol.name) == by_drgn.find(symbol.name)
        assert read.at(symbol.address) == by_drgn.at(symbol.address)


def _by_address(symbol: TableSymbol) -> tuple[int, str]:
    return symbol.address, symbol.name


def test_the_samples_symbols_are_read_at_once() -> None:
    """Else opening is slow again, and nothing else would tell."""
    with open_kernel(detect_target("sample")) as kernel:
        info = vmcoreinfo(kernel.prog)
        assert _load_raw(kernel.prog, info, vmcoreinfo_symbol(info, "_stext") or 0) is not None


def test_stats_say_what_was_read_and_how_long_each_phase_took(run: Run, tmp_path: Path) -> None:
    result = run("snapshot", "sample", "--stats", "-o", tmp_path / "x.json")
    counts, phases = result.stderr.splitlines()
    assert "tasks in" in counts and "reads" in counts and "MB" in counts
    names = [phase.rsplit(" ", 1)[0] for phase in phases.removeprefix("ms: ").split(", ")]
    assert names[:4] == ["opening", "tasks", "fs_structs", "namespaces"]


def test_phases_add_up_to_the_capture() -> None:
    with open_kernel(detect_target("sample")) as kernel:
        stats = CaptureStats()
        capture_snapshot(CaptureRequest.from_kernel(kernel), stats=stats)
    assert stats.reads > 0 and stats.bytes_read > 0
    assert abs(sum(stats.phases.values()) - stats.seconds) < 0.5 * stats.seconds + 0.01
