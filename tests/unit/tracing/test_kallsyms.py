"""Functions by address: what lies in no function that is known has no name, rather than its neighbour's."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer.tracing.kallsyms import Kallsyms, Symbol, open_kallsyms

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
    symbols = Kallsyms(open_kallsyms(*files))
    found = {address: symbols.find(address) for address in (0xFFFFFFFF81000234, 0xFFFFFFFFC0000110)}
    assert found == {
        0xFFFFFFFF81000234: Symbol("path_openat", None),
        0xFFFFFFFFC0000110: Symbol("badfn", "bad"),
    }
    for nowhere in (0x1000, 0xFFFFFFFF83000000, 0xFFFFFFFFC0001000, 0xFFFFFFFFC0009010, 0x7FFFFFFF):
        assert symbols.find(nowhere) is None
    assert symbols.modules == ["bad"]
    symbols.close()


def _append(files: tuple[str, str], *lines: str) -> None:
    for path, line in zip(files, lines, strict=True):
        with Path(path).open("a") as file:
            file.write(line)


def test_a_module_that_comes_later_is_found_at_once(files: tuple[str, str]) -> None:
    symbols = Kallsyms(open_kallsyms(*files))
    assert symbols.find(0xFFFFFFFFD0000020) is None
    _append(files, "ffffffffd0000010 t late\t[more]\n", "more 4096 0 - Live 0xffffffffd0000000\n")
    assert symbols.look()
    assert symbols.find(0xFFFFFFFFD0000020) == Symbol("late", "more")
    assert not symbols.look()
    symbols.close()


def test_where_a_module_was_that_has_gone_nothing_gets_the_name_of_what_came_after(
    files: tuple[str, str],
) -> None:
    """Which of both a stack of that moment meant cannot be told; the next look knows."""
    symbols = Kallsyms(open_kallsyms(*files))
    Path(files[0]).write_text(SYMBOLS.replace("badfn", "other").replace("[bad]", "[next]"))
    Path(files[1]).write_text(MODULES.replace("bad", "next"))
    assert symbols.look()
    assert symbols.find(0xFFFFFFFFC0000110) is None
    assert symbols.find(0xFFFFFFFF81000234) == Symbol("path_openat", None)
    assert symbols.look()
    assert symbols.find(0xFFFFFFFFC0000110) == Symbol("other", "next")
    symbols.close()


def test_all_symbols_are_not_read_again_where_only_the_users_of_a_module_change(
    files: tuple[str, str],
) -> None:
    """Stacks have addresses that never get a name; on a slow machine that read takes seconds."""
    symbols = Kallsyms(open_kallsyms(*files))
    Path(files[0]).write_text(SYMBOLS.replace("filp_open", "read_again"))
    Path(files[1]).write_text(MODULES.replace(" 0 - ", " 7 walker, "))
    assert not symbols.look()
    assert symbols.find(0xFFFFFFFFD0000020) is None
    assert symbols.find(0xFFFFFFFF81000A00) == Symbol("filp_open", None)
    symbols.close()


def test_hidden_addresses_are_refused_and_not_taken_for_zeros(files: tuple[str, str]) -> None:
    path = Path(files[0])
    path.write_text("".join("0" * 16 + line[16:] + "\n" for line in SYMBOLS.splitlines()))
    with pytest.raises(ValueError, match="kptr_restrict"):
        Kallsyms(open_kallsyms(*files))
