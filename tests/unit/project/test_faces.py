"""The contracts that nobody reaches past a face, and that a plugin has one door, find whoever does otherwise."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from tests.contracts import FacesContract, OneDoorContract

ROOT = Path(__file__).parents[3]
MODULES = (
    "house",
    "house.room",
    "house.room.table",
    "house.room.cupboard",
    "house.room.cupboard.drawer",
    "house.door",
)


def past(importer: str, imported: str) -> list[tuple[str, str]]:
    """What the contract says of one import."""
    graph = grimp.ImportGraph()
    for module in MODULES:
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported)
    contract = FacesContract(name="faces", session_options={}, contract_options={"packages": ["house.room"]})
    result = contract.check(graph, verbose=False)
    found: list[tuple[str, str]] = result.metadata["past"]
    assert result.kept is (not found)
    return found


@pytest.mark.parametrize("imported", ["house.room.table", "house.room.cupboard.drawer"])
def test_who_reaches_past_a_face_is_named(imported: str) -> None:
    assert past("house.door", imported) == [("house.door", imported)]


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("house.door", "house.room"),
        ("house.door", "house.room.cupboard"),
        ("house.room.table", "house.room.cupboard"),
        ("house.room.cupboard.drawer", "house.room.table"),
        ("house.room", "house.room.table"),
    ],
)
def test_faces_and_what_lies_within_the_same_room_may_be_imported(importer: str, imported: str) -> None:
    assert past(importer, imported) == []


def test_what_lies_in_a_room_within_is_past_its_face_for_the_room_around_it() -> None:
    assert past("house.room.table", "house.room.cupboard.drawer") == [
        ("house.room.table", "house.room.cupboard.drawer")
    ]


@pytest.mark.parametrize(
    ("imported", "found"),
    [
        ("house.door", []),
        ("house.room.cupboard", []),
        ("stranger", []),
        ("house.door.handle", [("house.room.table", "house.door.handle")]),
        ("house.cellar", [("house.room.table", "house.cellar")]),
        ("house", [("house.room.table", "house")]),
    ],
)
def test_who_has_one_door_and_takes_another_is_named(imported: str, found: list[tuple[str, str]]) -> None:
    graph = grimp.ImportGraph()
    for module in (*MODULES, "house.door.handle", "house.cellar", "stranger"):
        graph.add_module(module)
    graph.add_import(importer="house.room.table", imported=imported)
    options = {"package": "house.room", "door": "house.door"}
    result = OneDoorContract(name="door", session_options={}, contract_options=options).check(graph, False)
    assert (result.metadata["past"], result.kept) == (found, not found)


def test_a_package_that_is_not_there_keeps_no_contract() -> None:
    graph = grimp.ImportGraph()
    graph.add_module("house.room")
    options = {"package": "house.room", "door": "house.door"}
    contract = OneDoorContract(name="door", session_options={}, contract_options=options)
    assert not contract.check(graph, verbose=False).kept


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*[!_].py")), ids=lambda path: path.stem)
def test_every_plugin_has_one_import_line_of_ours_as_a_strangers_has(path: Path) -> None:
    tree = ast.parse(path.read_text())
    ours = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("explorer")
    ]
    whole = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert ours == ["explorer.plugin"]
    assert not any(name.startswith("explorer") for name in whole)


LOADED = """
import sys
{code}
print(sorted(name for name in ("drgn", "explorer.plugin.collecting") if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import explorer.plugin", []),
        ("from explorer.plugin import *", ["explorer.plugin.collecting"]),
        ("import explorer.tui.app\nfrom explorer.plugin import PluginSet\nPluginSet().listings", []),
        ("from explorer.plugin import Plugin, DeadPlace, borrowers, Snapshot", []),
        ("from explorer.plugin import load_plugins\nload_plugins()", ["explorer.plugin.collecting"]),
    ],
    ids=("the face", "all its names", "the screen and its list", "what an audit needs", "all plugins"),
)
def test_nothing_of_a_plugins_loads_drgn_and_the_screen_does_not_load_what_collects(
    code: str, loaded: list[str]
) -> None:
    command = [sys.executable, "-c", LOADED.format(code=code)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(loaded)
