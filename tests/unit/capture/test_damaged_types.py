"""A capture of a kernel whose types lack one member that this program asks for by name, for each of these names."""

from __future__ import annotations

import ast
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.capture import CaptureRequest, capture_errors, capture_snapshot
from explorer.model import Snapshot
from explorer.plugin import load_plugins
from explorer.targets import TargetError, detect_target, open_kernel
from explorer.targets.symbols import typecache
from tests.fuzz.bases import SMALLEST, Bases

_ROOT = Path(__file__).parents[3]
_ROOMS = ("explorer/capture", "explorer/plugin", "explorer/targets/symbols", "plugins")
#: And what is asked for by a text.
_BY_TEXT = {"idr", "idr_base", "idr_rt", "xa_head", "mem", "core_layout"}


def _asked_for() -> set[str]:
    """Every attribute that the code has anywhere."""
    sources = [path.read_text("utf-8") for room in _ROOMS for path in (_ROOT / room).rglob("*.py")]
    return {
        node.attr for text in sources for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)
    }


def _strings(btf: bytes) -> set[str]:
    """The names in BTF: of types and of members."""
    begin, offset, size = (struct.unpack_from("<I", btf, at)[0] for at in (4, 16, 20))
    return set(btf[begin + offset :][:size].decode("ascii").split("\0"))


def _without(btf: bytes, name: str) -> bytes:
    """Whatever has the name has another of its length."""
    other = name[:-1] + ("Z" if name[-1] != "Z" else "Y")
    return btf.replace(b"\0%s\0" % name.encode(), b"\0%s\0" % other.encode())


@pytest.fixture
def bases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bases]:
    monkeypatch.setenv("XDG_CACHE_HOME", "")  # it sets its own
    found = Bases()
    yield found
    found.close()


def _captured(path: Path) -> Snapshot:
    with open_kernel(detect_target(str(path))) as kernel, capture_errors(kernel):
        return capture_snapshot(CaptureRequest.from_kernel(kernel, load_plugins().plugins))


def test_a_member_that_damaged_types_lack_is_an_error_entry_or_one_line_and_never_a_fault(
    bases: Bases,
) -> None:
    """``struct idr`` without ``idr_rt`` was a fault (fuzz: btf, case 55 of seed 29101)."""
    cache, content = bases.cache_file(SMALLEST)
    path = bases.elf_path(SMALLEST)
    sections = dict(typecache._decode(content, cache.stem))
    btf = bytes(sections["btf"])
    names = sorted((_asked_for() | _BY_TEXT) & _strings(btf))
    assert len(names) > 100
    whole, refused, lost = _captured(path), 0, 0
    for name in names:
        cache.write_bytes(typecache._encode(cache.stem, sections | {"btf": _without(btf, name)}))
        try:
            snapshot = _captured(path)
        except TargetError as error:
            assert len(str(error).splitlines()) == 1
            refused += 1
        else:
            lost += len(snapshot.errors) > len(whole.errors)
    assert refused > 5
    assert lost > 5
