"""The contract that nobody reaches past a face finds whoever does."""

from __future__ import annotations

import grimp
import pytest

from tests.contracts import FacesContract

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
