"""Redaction, attacked: what an adversary found in its output, or could undo, is there no more."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import drgn
import pytest

from explorer.analysis.redact.check import words_left_in_memory
from explorer.analysis.redact.snapshots import RedactionError, Redactor, UnknownKindError, redact_snapshot
from explorer.model import CaptureError, KernelSetting, Record, Snapshot, kernel_text
from explorer.output.formats import SNAPSHOT_FORMATS
from explorer.output.redacted import redact_and_encode
from explorer.plugin import Facts, KernelWord, Plugin
from explorer.slicing.cut import record
from explorer.slicing.redact import redact_slice
from explorer.targets import TargetError
from explorer.targets.detect import detect_target
from explorer.targets.kernel import OpenKernel, open_kernel
from explorer.targets.spec import no_progress
from tests.conftest import FIXTURES, Run, capture_file
from tests.holes import PAGE, Holes
from tests.unit.poked import put


def open_slice(path: Path | str) -> OpenKernel:
    return open_kernel(detect_target(str(path)))


def dentries(prog: drgn.Program, snapshot: Snapshot) -> dict[int, drgn.Object]:
    """Those of all roots, working directories and mount points, and all above them."""
    todo = [ref.dentry for fs in snapshot.fs_structs for ref in (fs.root, fs.pwd) if ref is not None]
    for mount in snapshot.mounts:
        todo.append(drgn.Object(prog, "struct mount", address=mount.address).mnt_mountpoint.value_())
    found: dict[int, drgn.Object] = {}
    while todo:
        address = todo.pop()
        if address not in found:
            found[address] = drgn.Object(prog, "struct dentry", address=address)
            todo.append(found[address].d_parent.value_())
    return found


@pytest.mark.parametrize("layout", ["isolated", "legacy-6.1"])
def test_a_redacted_slice_has_no_hash_of_a_name_by_which_a_guess_could_be_checked(
    run: Run, tmp_path: Path, layout: str
) -> None:
    """A dentry's hash is of its name and its parent's address; so is where the hash table is entered."""
    assert run("slice", FIXTURES[layout], "--redact", "-o", "out.elf").returncode == 0
    content = (tmp_path / "out.elf").read_bytes()
    snapshot = capture_file(FIXTURES[layout])
    with open_slice(FIXTURES[layout]) as kernel, open_slice(tmp_path / "out.elf") as redacted:
        originals = dentries(kernel.prog, snapshot)
        hashes = {dentry.d_name.hash_len.value_() for dentry in originals.values() if dentry.d_name.hash}
        buckets = {dentry.d_hash.pprev.value_() for dentry in originals.values()} - {0}
        assert len(hashes) > 20 and len(buckets) > 20
        assert [value for value in hashes if value.to_bytes(8, "little") in content] == []
        for address, original in originals.items():
            dentry = drgn.Object(redacted.prog, "struct dentry", address=address)
            assert dentry.d_name.hash.value_() == 0
            assert bool(dentry.d_hash.pprev) == bool(original.d_hash.pprev)
            assert dentry.d_hash.pprev.value_() not in buckets


def redacted_pages(kernel: OpenKernel) -> bytes:
    piece = redact_slice(record(kernel, lambda what, done, total: None), [])
    return b"".join(piece.pages.values())


def test_what_lies_behind_a_string_in_memory_is_not_in_a_redacted_slice() -> None:
    """In the slab beside a mount's source, and in core_pattern, of a longer one that was there before."""
    with open_slice(FIXTURES["isolated"]) as kernel:
        snapshot = capture_file(FIXTURES["isolated"])
        source = next(mount for mount in snapshot.mounts if mount.source and len(mount.source) > 3)
        devname = drgn.Object(kernel.prog, "struct mount", address=source.address).mnt_devname
        put(kernel.prog, devname.value_() + len(devname.string_()) + 1, b"acme\0bob1\0")
        pattern = kernel.types.symbol_address("core_pattern")
        assert pattern is not None
        put(kernel.prog, pattern, b"core\0/acmecorp/Payroll-olga/x.%e\0")
        content = redacted_pages(kernel)
    assert [name for name in (b"acme", b"bob1", b"Payroll", b"olga") if name in content] == []


def test_the_check_of_a_slice_sees_a_name_that_ends_with_a_nul() -> None:
    names = Redactor()
    names.text("hostile jail")
    assert names.leaks(b"\0\0hostile\0\xff\xffjail\0") == [b"hostile", b"jail"]
    assert names.leaks(b"\0\0hostile\0\xff\xffjail\0", own=[b"jail"]) == [b"hostile"]
    assert names.leaks(b"hostiles jails") == []


def test_a_slice_is_not_written_in_which_redaction_has_overlooked_a_name_that_it_never_knew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A fault of redaction: in memory it replaces what the snapshot has, and nothing else that looks like a name."""
    with open_slice(FIXTURES["isolated"]) as kernel:
        recorded = record(kernel, lambda what, done, total: None)
        beyond = max(recorded.piece.pages) + (1 << 20)
        recorded.piece.pages[beyond] = (b"\0" * 64 + b"Payroll7\0").ljust(4096, b"\0")
        recorded.touched[beyond] = bytearray(b"\1" * 4096)
        assert b"Payroll7" not in redact_slice(recorded, []).pages[beyond]
        monkeypatch.setattr(
            "explorer.slicing.redact._replace", lambda word, names: names.replaced.get(word, word)
        )
        with pytest.raises(TargetError, match="1 names would be left in the slice"):
            redact_slice(recorded, [])


def test_the_check_of_memory_knows_no_name_and_sees_each_long_word_that_nobody_has_invented() -> None:
    invented = {b"zxcvbn", b"qwertyui"}
    left = words_left_in_memory(b"\0zxcvbn\0kthreadd\0payroll\0rel3ase\0short\0", [b"rel3ase"], invented)
    assert left == [b"payroll"]
    # Bytes of a number beside a word are no more of it than three.
    assert words_left_in_memory(b"\0AqwertyuiBC\0ABCDqwertyui\0zxcvbnpayroll\0", [], invented) == [
        b"ABCDqwertyui",
        b"zxcvbnpayroll",
    ]
    # The rest of these is on other pages.
    assert words_left_in_memory(b"wertyui\0secret1\0qwerty", [], invented) == [b"secret1"]


def test_the_check_of_an_export_sees_names_that_json_escapes_and_kept_texts_hide_no_others() -> None:
    names = Redactor()
    names.text(kernel_text("caf\u00e9secret".encode()))
    names.text("worker_of_olga")
    names.keep("olga")
    assert names.leaks_in_texts(["at caf\u00e9secret"]) == ["caf\u00e9secret".encode()]
    assert names.leaks_in_texts(["olga"]) == []
    assert names.leaks_in_texts(["by olga"]) == [b"olga"]


@pytest.mark.parametrize("comm", ["others", "Names", "job-12345", "capture", "12345"])
def test_a_task_that_is_called_as_something_of_the_export_does_not_stop_the_redaction(
    isolated: Snapshot, comm: str
) -> None:
    isolated.tasks[5] = isolated.tasks[5].model_copy(update={"comm": comm, "pid": 12345})
    redacted, content = redact_and_encode(isolated, [], SNAPSHOT_FORMATS["json"])
    assert redacted.tasks[5].comm != comm
    assert json.loads(content)["tasks"][5]["pid"] == 12345


def test_a_redacted_snapshot_can_be_redacted_again(run: Run) -> None:
    assert run("snapshot", FIXTURES["isolated"], "--redact", "-o", "once.json").returncode == 0
    again = run("snapshot", "once.json", "--redact", "-o", "twice.json")
    assert (again.returncode, again.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("192.168.10.77:/export", r"(?!192\.168)\d{3}\.\d{3}\.\d{2}\.\d{2}:/[a-z]{6}"),
        ("fe80::1ff:fe23:4567:890a", r"(?!fe80)[0-9a-f]{4}::[0-9a-f]{3}(:[0-9a-f]{4}){3}"),
        ("00:11:22:33:44:55", r"(?!00:11:22)[0-9a-f:]{17}"),
        ("wwn-0x5000c500a1b2c3d4", r"[a-z]{3}-[a-z]{18}"),
        ("server07/user1001", r"(?!server)[a-z]{8}/(?!user)[a-z]{8}"),
        ("kswapd0 ttyS1 kworker/3", r"kswapd0 ttyS1 kworker/3"),
        ("task at 0xffff888012345678", r"task at 0xffff888012345678"),
        ("vmlinuz-6.12.0-acmecorp", r"[a-z]{7}-6\.12\.0-acmecorp"),
        ("acmecorp-6.12.0", r"(?!acmecorp)[a-z]{8}-[a-z]\.[a-z]{2}\.[a-z]"),
    ],
)
def test_addresses_numbered_words_and_words_of_the_release_are_names_elsewhere(text: str, shape: str) -> None:
    names = Redactor(["6.12.0-acmecorp"])
    shown = names.text(text)
    assert re.fullmatch(shape, shown), shown
    assert names.text(text) == shown


def test_the_name_of_a_ksmbd_share_is_none_of_a_setting() -> None:
    names = Redactor()
    share = KernelSetting(
        name="ksmbd share AcmePayroll", value="/srv/x", path="/srv/x", found="no", target=None
    )
    plain = share.model_copy(update={"name": "fw_path[2]"})
    assert "AcmePayroll" not in names.record(share).name
    assert names.record(plain).name == "fw_path[2]"


class _Facts(Facts):
    module: str
    what: str
    names: set[str]
    state_word: KernelWord


class _Odd(Facts):
    raw: bytes


def _plugin(facts: type[Facts]) -> Plugin:
    return Plugin(
        name="acme", title="", facts=facts, collect=lambda kernel: Facts(), audit=lambda *_: iter(())
    )


def test_a_stranger_s_facts_are_replaced_whatever_their_fields_are_called(isolated: Snapshot) -> None:
    facts: dict[str, Any] = {"state": "loaded", "module": "olga", "what": "payroll", "names": ["acmeset"]}
    isolated.plugins = {"acme": {**facts, "state_word": "finished"}}
    redacted = redact_snapshot(isolated, [_plugin(_Facts)])
    shown = redacted.plugins["acme"]
    assert [name for name in ("olga", "payroll", "acmeset") if name in str(shown)] == []
    assert (shown["state"], shown["state_word"]) == ("loaded", "finished")


def test_facts_that_cannot_be_redacted_are_left_out_and_it_is_said(isolated: Snapshot) -> None:
    isolated.plugins = {"acme": {"state": "loaded", "raw": "olga"}}
    redacted = redact_snapshot(isolated, [_plugin(_Odd)])
    assert redacted.plugins == {"acme": {"state": "failed"}}
    assert "bytes" in redacted.errors[-1].why
    with pytest.raises(UnknownKindError):
        Redactor().value(b"olga")


def test_a_log_line_without_a_time_and_the_words_of_an_error_are_replaced(isolated: Snapshot) -> None:
    isolated.log = ["olga was here", "[    1.000000] olga again] x"]
    isolated.errors = [CaptureError(where="a", what="olga", why="b")]
    redacted = redact_snapshot(isolated)
    assert "olga" not in str(redacted.log) + str(redacted.errors)
    assert redacted.log[1].startswith("[    1.000000] ")


def test_every_kind_of_record_of_ours_is_known_to_redaction(isolated: Snapshot) -> None:
    """A value of a kind that nobody thought of is an error, not a leak."""

    class Holder(Record):
        value: Any

    with pytest.raises(UnknownKindError):
        Redactor().record(Holder(value=memoryview(b"olga")))
    redact_snapshot(isolated)


def test_a_control_character_in_the_name_of_a_slice_does_not_reach_the_terminal(run: Run) -> None:
    done = run("slice", FIXTURES["rfc-v1"], "-o", "a\x1b[31m\u202e.elf")
    assert done.returncode == 0
    assert "\x1b" not in done.stderr and "\u202e" not in done.stderr


def test_a_dump_whose_names_are_garbage_is_redacted_all_the_same() -> None:
    """Damage makes names of single bytes of every kind: more than there are letters and digits."""
    redactor = Redactor()
    names = [kernel_text(bytes([code])) for code in range(0x80, 0x100)] + list("bcdefghijklmnop")
    new = [redactor.text(name) for name in names]
    assert len(set(new)) == len(names)
    assert not any(before == after for before, after in zip(names, new, strict=True))


def test_numbers_that_damage_has_made_are_not_taken_for_names_that_are_left(isolated: Snapshot) -> None:
    """A negative pid is a number in a table, and a word in an error; so is an address that is none of the kernel's."""
    task, fs = isolated.tasks[0], isolated.fs_structs[0]
    damaged = isolated.model_copy(
        update={
            "tasks": [task.model_copy(update={"pid": -1097471460}), *isolated.tasks[1:]],
            "fs_structs": [fs.model_copy(update={"address": 0x1200000000}), *isolated.fs_structs[1:]],
            "errors": [
                CaptureError(where="task -1097471460", what="fs", why="0x1200000000 is no kernel pointer")
            ],
        }
    )
    for form in ("json", "jsonl", "csv"):
        _, content = redact_and_encode(damaged, (), SNAPSHOT_FORMATS[form])
        assert b"-1097471460" in content
        assert b"task -1097471460" not in content  # in the error it could be anybody's name


def test_a_name_longer_than_a_csv_reader_takes_is_redacted_all_the_same(isolated: Snapshot) -> None:
    task = isolated.tasks[0].model_copy(update={"comm": "secret " * 30_000})
    snapshot = isolated.model_copy(update={"tasks": [task, *isolated.tasks[1:]]})
    _, content = redact_and_encode(snapshot, (), SNAPSHOT_FORMATS["csv"])
    assert len(content) > 200_000
    assert b"secret" not in content


@pytest.mark.parametrize(
    "name", ["%s%n%xsecret", "%esecret", "%%secret", "%secret%s", "core.%p.%esecret", "%z%q"]
)
def test_a_percent_sign_in_a_name_neither_keeps_a_letter_of_it_nor_stops_the_redaction(
    isolated: Snapshot, name: str
) -> None:
    snapshot = isolated.model_copy(deep=True)
    snapshot.tasks[3].comm = name
    for form in SNAPSHOT_FORMATS.values():
        redacted, content = redact_and_encode(snapshot, [], form)
        comm = redacted.tasks[3].comm or ""
        assert len(comm) == len(name) and "secret" not in comm and b"secret" not in content
        assert [at for at, sign in enumerate(name) if sign in "%."] == [
            at for at, sign in enumerate(comm) if sign in "%."
        ]


def test_names_that_are_no_plain_words_are_still_seen_when_they_are_left() -> None:
    redactor = Redactor()
    for name in ("größe", "owned\x07bell", "fe80::1:2:3:4", "192.168.77.12"):
        redactor.text(name)
        assert redactor.leaks_in_texts([f"at {name}, or so"]), name
    assert redactor.leaks_in_texts(["error", "of the kernel"]) == []


def test_too_many_names_that_are_no_text_are_an_error_and_not_searched_for_hours() -> None:
    redactor = Redactor()
    for number in range(2000):
        redactor.text(f"\x01name{number:04}\x02")
    with pytest.raises(RedactionError, match="damaged"):
        redactor.leaks(b"a slice")


def test_a_dump_with_an_error_can_be_cut_and_redacted() -> None:
    """The words of an error are ours, but for names in it: they differ where redaction does not know them."""
    with open_slice(FIXTURES["isolated"]) as kernel:
        fs = kernel.prog["init_task"].fs
        user = next(
            ref for ref in capture_file(FIXTURES["isolated"]).fs_structs if ref.address != fs.value_()
        )
        offset = drgn.offsetof(kernel.prog.type("struct fs_struct"), "root.mnt")
        put(kernel.prog, user.address + offset, (0x1200000000).to_bytes(8, "little"))
        recorded = record(kernel, no_progress)
        assert recorded.piece.snapshot.errors
        piece = redact_slice(recorded, ())
    assert len(piece.snapshot.errors) == len(recorded.piece.snapshot.errors)


def test_a_mount_that_is_half_there_is_one_line_or_a_slice_and_no_fault() -> None:
    """Whoever looked for its names read the other half (fuzz: fs-pointers, case 31 of seed 29101)."""
    snapshot, ended = capture_file(FIXTURES["isolated"]), Counter[str]()
    with open_slice(FIXTURES["isolated"]) as kernel:
        prog, holes = kernel.prog, Holes(kernel)
        size = drgn.sizeof(prog.type("struct mount"))
        root = drgn.offsetof(prog.type("struct fs_struct"), "root.mnt")
        inside = drgn.offsetof(prog.type("struct mount"), "mnt")
        pages = sorted({fs.address // PAGE * PAGE for fs in snapshot.fs_structs})
        starts = [page - inside - 8 for page in pages if not holes.is_there(page - PAGE)]
        ends = [page + PAGE - size // 2 for page in pages if not holes.is_there(page + PAGE)]
        assert starts and ends
        for fs, mount in zip(snapshot.fs_structs, (starts[0], ends[0], starts[-1]), strict=False):
            put(prog, fs.address + root, (mount + inside).to_bytes(8, "little"))
            try:
                redact_slice(record(kernel, no_progress, ()), ())
                ended["written"] += 1
            except TargetError as error:
                assert len(str(error).splitlines()) == 1
                ended["refused"] += 1
    assert sum(ended.values()) == 3
