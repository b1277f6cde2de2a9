"""Functions by address: what lies in no function that is known has no name, rather than its neighbour's."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.tracing.kallsyms import Kallsyms, Symbol

SYMBOLS = """\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000100 t path_openat
ffffffff81000900 T filp_open
ffffffff82000000 D some_data
ffffffff83000000 B _end
ffffffffc0000100 t badfn\t[bad]
ffffffffc0009000 t bpf_prog_x\t[bpf]
"""
MODULES = "bad 4096 0 - Live 0xffffffffc0000000 (OE)\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, text in (("kallsyms", SYMBOLS), ("modules", MODULES)):
        (tmp_path / name).write_text(text)
    return str(tmp_path / "kallsyms"), str(tmp_path / "modules")


def test_an_address_is_in_the_function_below_it_and_in_no_other(files: tuple[str, str]) -> None:
    symbols = Kallsyms(*files)
    found = {address: symbols.find(address) for address in (0xFFFFFFFF81000234, 0xFFFFFFFFC0000110)}
    assert found == {
        0xFFFFFFFF81000234: Symbol("path_openat", None),
        0xFFFFFFFFC0000110: Symbol("badfn", "bad"),
    }
    for nowhere in (0x1000, 0xFFFFFFFF83000000, 0xFFFFFFFFC0001000, 0xFFFFFFFFC0009010, 0x7FFFFFFF):
        assert symbols.find(nowhere) is None
    assert symbols.modules == ["bad"]
    symbols.close()


def test_a_module_that_comes_later_is_found(files: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = Kallsyms(*files)
    assert symbols.find(0xFFFFFFFFD0000020) is None
    for path, text in zip(
        files, ("ffffffffd0000010 t late\t[more]\n", "more 4096 0 - Live 0xffffffffd0000000\n"), strict=True
    ):
        with Path(path).open("a") as file:
            file.write(text)
    monkeypatch.setattr("explorer.tracing.kallsyms._AGAIN_S", 0.0)
    assert symbols.find(0xFFFFFFFFD0000020) == Symbol("late", "more")
    symbols.close()


def test_hidden_addresses_are_refused_and_not_taken_for_zeros(files: tuple[str, str]) -> None:
    path = Path(files[0])
    path.write_text("".join("0" * 16 + line[16:] + "\n" for line in SYMBOLS.splitlines()))
    with pytest.raises(ValueError, match="kptr_restrict"):
        Kallsyms(*files)
