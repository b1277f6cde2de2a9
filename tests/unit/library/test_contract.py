"""The library is promised to stay: its names and signatures, and that asking for it costs nothing before it is used."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import explorer
from explorer.capture.target import capture_target

ROOT = Path(__file__).parents[3]
#: Parameters may be added behind these, with a default; none of these may go or change its name.
PROMISED = {
    "audit": ["snapshot", "only=()", "where=None", "plugins=True"],
    "capture": ["target", "plugins=True"],
    "load": ["file"],
    "open_target": ["target", "symbols=()", "types=None", "use_cache=True", "symbols_file=None"],
    "query": ["snapshot", "where"],
}
TYPES = ("AuditReport", "Finding", "OpenKernel", "Severity", "Snapshot", "Task")
ERRORS = ("QueryError", "RecordingError", "SnapshotError", "TargetError")


def parameters(name: str) -> list[str]:
    found = inspect.signature(getattr(explorer, name)).parameters.values()
    return [each.name if each.default is each.empty else f"{each.name}={each.default!r}" for each in found]


@pytest.mark.parametrize("name", PROMISED)
def test_a_function_of_the_library_keeps_its_parameters(name: str) -> None:
    found = parameters(name)
    assert found[: len(PROMISED[name])] == PROMISED[name]
    assert all("=" in added for added in found[len(PROMISED[name]) :])


def test_the_face_names_what_is_promised_and_what_can_be_had() -> None:
    assert set(explorer.__all__) == {*PROMISED, *TYPES, *ERRORS}
    stub = ast.parse((ROOT / "explorer" / "__init__.pyi").read_text())
    named = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named == {*explorer.__all__, "__version__"}
    assert all(issubclass(getattr(explorer, name), Exception) for name in ERRORS)
    assert all(inspect.isclass(getattr(explorer, name)) for name in TYPES)
    with pytest.raises(AttributeError, match="no attribute 'captur'"):
        getattr(explorer, "captur")  # noqa: B009  # mypy knows better


def test_the_room_that_can_be_called_takes_what_its_function_takes() -> None:
    assert parameters("capture") == [str(p).partition(":")[0] if p.default is p.empty else f"{p.name}={p.default!r}"
                                     for p in inspect.signature(capture_target).parameters.values()]  # fmt: skip
    from explorer.capture import CaptureStats

    assert CaptureStats.__module__ == "explorer.capture.request", "it is a package all the same"


LOADED = (
    "import sys; {code}; "
    "print([m for m in ('pydantic', 'drgn', 'click', 'textual', 'pandas') if m in sys.modules])"
)


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import explorer", []),
        ("from explorer import load, query; load, query", ["pydantic"]),
    ],
)
def test_what_is_not_used_is_not_imported(code: str, loaded: list[str]) -> None:
    command = [sys.executable, "-c", LOADED.format(code=code)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == str(loaded)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "examples").glob("*.py")), ids=lambda path: path.name
)
def test_no_example_imports_anything_of_ours_but_the_five_functions(path: Path) -> None:
    tree = ast.parse(path.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert modules == {"explorer"}
    assert names <= set(PROMISED)
    assert plain <= set(sys.stdlib_module_names)
