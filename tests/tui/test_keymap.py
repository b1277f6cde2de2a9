"""Keys: each has an id and a sentence, none means two things on one screen, and a keymap moves any of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.screen import Screen

from explorer.model import Snapshot
from explorer.tui.app import ExplorerApp
from explorer.tui.keymap import apply_keymap, declared_classes, declared_keys, keymap_complaint
from explorer.tui.screens.dialogs.info import TextScreen
from explorer.tui.screens.dialogs.problem import ProblemScreen
from explorer.tui.screens.tasks import TasksScreen
from tests.conftest import Run

from .conftest import Pilots, drive, press

OURS = list(declared_classes())


def test_the_walk_finds_the_app_every_mode_and_the_widgets() -> None:
    names = {found.__name__ for found in OURS}
    assert {
        "ExplorerApp",
        "TasksScreen",
        "VirtualTable",
        "DetailPane",
        "DoorBox",
        "TextScreen",
        "FilterBox",
    } <= names


@pytest.mark.parametrize("owner", OURS, ids=lambda owner: owner.__name__)
def test_every_binding_has_an_id_a_sentence_and_belongs_to_a_group(owner: type) -> None:
    for binding in vars(owner)["BINDINGS"]:
        assert isinstance(binding, Binding)
        assert binding.id and "." in binding.id, binding
        assert binding.tooltip and not binding.tooltip[0].isspace() and not binding.tooltip.endswith("."), (
            binding
        )
        assert len(binding.tooltip) <= 80, binding


@pytest.mark.parametrize("owner", OURS, ids=lambda owner: owner.__name__)
def test_ids_and_keys_are_unique_where_they_are_declared(owner: type) -> None:
    bindings = vars(owner)["BINDINGS"]
    assert max(Counter(binding.id for binding in bindings).values(), default=1) == 1
    keys = Counter(key for binding in bindings for key in binding.key.split(","))
    assert max(keys.values(), default=1) == 1, keys


def test_an_id_means_the_same_wherever_it_is_declared() -> None:
    meanings = defaultdict(set)
    for key in declared_keys():
        meanings[key.id].add((key.keys, key.sentence))
    assert not {id: found for id, found in meanings.items() if len(found) > 1}


@pytest.mark.parametrize(
    "screen", [found for found in OURS if issubclass(found, Screen)], ids=lambda screen: screen.__name__
)
def test_no_key_of_a_screen_hides_one_of_the_app(screen: type) -> None:
    if screen is ProblemScreen:
        pytest.skip("nothing is read there: the app's own r and s lead nowhere, and are not active")
    own: dict[str, str] = {}
    hidden = []
    # From the app outwards in: what comes later hides what came before.
    for owner in (*reversed(ExplorerApp.__mro__), *reversed(screen.__mro__)):
        if not owner.__module__.startswith("explorer.") or "BINDINGS" not in vars(owner):
            continue
        for binding in vars(owner)["BINDINGS"]:
            for key in binding.key.split(","):
                if key in own and screen.__name__ not in MODAL:
                    hidden.append((key, own[key], binding.id))
                own[key] = binding.id
    assert not hidden


#: These lie over the others, and the app's keys are not active while they do.
MODAL = (
    "ColumnsScreen",
    "TextScreen",
    "TargetPrompt",
    "NamePrompt",
    "ExportScreen",
    "FaultScreen",
    "ReadingScreen",
    "LeaveScreen",
    "HelpScreen",
    "GoToPrompt",
)


def test_a_keymap_moves_any_key_and_characters_may_be_written_as_they_are(
    saved: Snapshot, own_settings: Path
) -> None:
    own_settings.mkdir(mode=0o700)
    keymap = {"go.tasks": "f5", "app.help": "h,&", "tasks.flat": "="}
    (own_settings / "settings.json").write_text(json.dumps({"keymap": keymap}))
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        await press(pilot, "f5")
        assert isinstance(app.screen, TasksScreen)
        await press(pilot, "ampersand")
        assert isinstance(app.screen, TextScreen)
        assert "f5 " in app.screen._text.casefold() and "& " in app.screen._text

    drive(app, steps)
    assert apply_keymap({"a": "?, ctrl+x"}) == {"a": "question_mark,ctrl+x"}


def test_a_wrong_id_in_a_keymap_is_one_notice_that_names_it(saved: Snapshot, own_settings: Path) -> None:
    own_settings.mkdir(mode=0o700)
    keymap = {"go.taks": "f5", "\x1b[31mx": "f6", "go.mounts": "f7"}
    (own_settings / "settings.json").write_text(json.dumps({"keymap": keymap}))
    app = ExplorerApp(snapshot=saved)

    async def steps(pilot: Pilots) -> None:
        notes = [note.message for note in app._notifications]
        assert len(notes) == 1 and "go.taks" in notes[0] and "go.mounts" not in notes[0]
        assert "\\e[31mx" in notes[0] and "nullfs-explorer keys" in notes[0]

    drive(app, steps)
    assert keymap_complaint({key.id: "f9" for key in declared_keys()}) is None


def test_the_keys_command_lists_every_id_and_the_users_own_keys(run: Run, own_settings: Path) -> None:
    own_settings.mkdir(mode=0o700)
    (own_settings / "settings.json").write_text(json.dumps({"keymap": {"go.tasks": "f5", "go.nowhere": "x"}}))
    result = run("keys")
    assert result.returncode == 0
    listed = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert {key.id for key in declared_keys()} <= set(listed)
    assert " f5 " in listed["go.tasks"] and " ? " in listed["app.help"]
    assert "go.nowhere" in result.stderr and "settings.json" in result.stderr
