"""What keeps the house readable: the length of files and functions, the modules of a room, and their names."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]

SOURCES = [path for top in ("explorer", "plugins") for path in sorted((ROOT / top).rglob("*.py"))]
MOST_LINES, MOST_OF_A_FUNCTION, MOST_MODULES = 420, 55, 14
#: One subsystem a file.
CROWDED = {"plugins": 22}


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_sources_to_look_at() -> None:
    assert len(SOURCES) > 300


def test_no_file_is_longer_than_can_be_read_at_a_sitting() -> None:
    lines = {named(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_OF_A_FUNCTION:
                    long[f"{named(path)}: {node.name}"] = length
    assert long == {}


def test_no_room_has_more_modules_than_fit_on_one_screen() -> None:
    rooms: dict[str, int] = {}
    for path in SOURCES:
        if path.name != "__init__.py":
            rooms[named(path.parent)] = rooms.get(named(path.parent), 0) + 1
    assert {room: count for room, count in rooms.items() if count > CROWDED.get(room, MOST_MODULES)} == {}
    assert [room for room, most in CROWDED.items() if rooms[room] <= MOST_MODULES or rooms[room] < most] == []


def test_no_file_is_named_like_the_room_it_is_in() -> None:
    assert [named(path) for path in SOURCES if path.stem == path.parent.name] == []
