"""Kernel module files: the verdict follows from the symbols, and no file, however broken, does more than be refused."""

from __future__ import annotations

import gzip
import json
import lzma
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.analysis.ko import judge_module
from explorer.model.ko import ModuleReport, ModuleVerdict
from explorer.targets.errors import TargetError
from explorer.targets.symbols.ko import read_module_file
from tests.conftest import Run
from tests.unit.ko_builder import module_bytes


def judge(path: Path, *undefined: str) -> ModuleReport:
    path.write_bytes(module_bytes(*undefined))
    return judge_module(read_module_file(path))


@pytest.fixture
def ko(tmp_path: Path) -> Path:
    return tmp_path / "tiny.ko"


def test_a_module_without_lookups_is_said_to_have_none(ko: Path) -> None:
    report = judge(ko, "printk", "kthread_create_on_node", "path_put")
    assert report.verdict is ModuleVerdict.NONE
    assert report.meaning == "does no path lookups"
    assert (report.name, report.license, report.vermagic) == ("tiny", "GPL", "7.3.4 SMP")


def test_a_module_that_looks_up_and_never_borrows_is_exposed(ko: Path) -> None:
    for symbol in ("filp_open", "kern_path", "bdev_file_open_by_path", "kernel_read_file_from_path"):
        report = judge(ko, symbol, "queue_work_on")
        assert report.verdict is ModuleVerdict.EXPOSED
        assert report.lookups == [symbol]
        assert report.work == ["queue_work_on"]
        assert "ENOENT" in report.meaning


def test_userspace_init_fs_is_what_shows_a_converted_module(ko: Path) -> None:
    report = judge(ko, "filp_open", "userspace_init_fs")
    assert report.verdict is ModuleVerdict.BORROWS
    assert report.meaning == "looks up paths, and borrows init's fs"
    assert judge(ko, "userspace_init_fs").verdict is ModuleVerdict.BORROWS


def test_a_borrow_inside_another_function_does_not_excuse_the_modules_own_lookup(ko: Path) -> None:
    report = judge(ko, "filp_open", "kernel_read_file_from_path_initns")
    assert report.verdict is ModuleVerdict.EXPOSED
    assert report.borrows == ["kernel_read_file_from_path_initns"]


def test_what_the_kernel_looks_up_by_itself_is_no_danger(ko: Path) -> None:
    report = judge(ko, "request_firmware_nowait", "call_usermodehelper", "vfs_path_lookup", "user_path_at")
    assert report.verdict is ModuleVerdict.SAFE
    assert report.delegated == ["call_usermodehelper", "request_firmware_nowait"]
    assert report.anchored == ["vfs_path_lookup"]
    assert report.system_call == ["user_path_at"]


def test_a_function_that_the_module_defines_itself_is_not_the_kernels(ko: Path) -> None:
    ko.write_bytes(module_bytes("printk", defined=("filp_open",)))
    assert judge_module(read_module_file(ko)).verdict is ModuleVerdict.NONE


def test_compressed_and_big_endian_modules_are_read_whatever_they_are_called(tmp_path: Path) -> None:
    plain = module_bytes("filp_open")
    ways = {
        "a.ko.xz": lzma.compress(plain),
        "a.ko.gz": gzip.compress(plain),
        "a.ko.zst": zstandard.compress(plain),
        "misnamed": lzma.compress(plain),
        "s390.ko": module_bytes("filp_open", order=">"),
    }
    for name, content in ways.items():
        (tmp_path / name).write_bytes(content)
        assert read_module_file(tmp_path / name).undefined == ["filp_open"]


def test_a_module_without_a_name_is_called_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "driver.ko.xz"
    path.write_bytes(lzma.compress(module_bytes(modinfo=b"license=GPL\0")))
    assert read_module_file(path).name == "driver"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_what_a_compiler_makes_is_read_like_what_nm_says(tmp_path: Path) -> None:
    source = (
        "extern void *filp_open(const char *, int, int); extern void *userspace_init_fs;\n"
        '__attribute__((section(".modinfo"), used)) static const char info[] = "license=MIT";\n'
        'int init_module(void) { return filp_open("/x", 0, 0) == userspace_init_fs; }\n'
    )
    (tmp_path / "m.c").write_text(source)
    subprocess.run(["gcc", "-c", "-fno-pic", "m.c", "-o", "m.ko"], cwd=tmp_path, check=True)
    report = judge_module(read_module_file(tmp_path / "m.ko"))
    assert (report.verdict, report.lookups, report.license) == (ModuleVerdict.BORROWS, ["filp_open"], "MIT")


# Files that are no modules


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(TargetError) as caught:
        read_module_file(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_are_no_modules_are_refused_with_the_reason(ko: Path) -> None:
    good = module_bytes("filp_open")
    assert "not an ELF file" in refused(ko, b"hello")
    assert "not an ELF file" in refused(ko, b"")
    assert "64-bit" in refused(ko, good[:4] + b"\x01" + good[5:])
    assert "not a relocatable" in refused(ko, good[:16] + b"\x02" + good[17:])
    assert "no .modinfo" in refused(ko, module_bytes("filp_open", modinfo=None))
    assert "beyond its end" in refused(ko, good[:-100])
    assert "truncated" in refused(ko, lzma.compress(good * 50)[:-60])


def test_tables_that_claim_to_be_huge_are_refused_unread(ko: Path) -> None:
    good = bytearray(module_bytes("filp_open"))
    headers = struct.unpack_from("<Q", good, 40)[0]
    struct.pack_into("<Q", good, headers + 2 * 64 + 32, 1 << 60)
    assert "would be many" in refused(ko, bytes(good))
    struct.pack_into("<H", good, 60, 0)
    struct.pack_into("<Q", good, headers + 32, 1 << 40)
    assert "sections" in refused(ko, bytes(good))


def test_names_that_lie_in_one_another_are_not_all_taken_into_memory(ko: Path) -> None:
    """A megabyte of letters with a symbol at each: half a gigabyte of names."""
    names = b"\0" + b"".join(b"%x," % number for number in range(200_000))
    content = module_bytes(symbol_table=names, symbols_at=range(1, 1 << 20))
    assert "undefined symbols" in refused(ko, content)
    content = module_bytes(symbol_table=names, symbols_at=range(1, 50_000))
    ko.write_bytes(content)
    assert max(map(len, read_module_file(ko).undefined)) == 512


def test_a_license_of_a_megabyte_is_cut(ko: Path) -> None:
    ko.write_bytes(module_bytes("filp_open", modinfo=b"license=" + b"G" * 1_000_000))
    assert read_module_file(ko).license == "G" * 512


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_module_is_read_or_refused_but_never_a_fault(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(module_bytes("filp_open", "kern_path"))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.ko"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        judge_module(read_module_file(path))
    except TargetError as error:
        assert "\n" not in str(error)


# The command


def test_the_exit_code_says_exposed_or_unreadable(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.ko").write_bytes(module_bytes("filp_open", "userspace_init_fs"))
    (tmp_path / "bad.ko").write_bytes(module_bytes("filp_open"))
    (tmp_path / "junk.ko").write_bytes(b"junk")
    assert run("ko", "good.ko").returncode == 0
    assert run("ko", "good.ko", "bad.ko").returncode == 1
    result = run("ko", "bad.ko", "junk.ko", "good.ko", "absent.ko")
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 2
    assert "never borrows" in result.stdout
    assert "borrows init's fs" in result.stdout


def test_the_json_has_one_report_a_module(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.ko").write_bytes(module_bytes("filp_open"))
    document = json.loads(run("ko", "--format", "json", "bad.ko").stdout)
    assert document["schema_version"] == 1
    assert [(m["name"], m["verdict"], m["lookups"]) for m in document["modules"]] == [
        ("tiny", "exposed", ["filp_open"])
    ]


def test_a_hostile_symbol_or_file_name_reaches_the_terminal_escaped(run: Run, tmp_path: Path) -> None:
    (tmp_path / "\x1b[31m.ko").write_bytes(
        module_bytes("filp_open", modinfo=b"name=\x1b]0;x\0license=\x1b[0m\0")
    )
    (tmp_path / "\x1b[32m.ko").write_bytes(b"junk")
    result = run("ko", "\x1b[31m.ko", "\x1b[32m.ko")
    assert "\x1b" not in result.stdout + result.stderr
