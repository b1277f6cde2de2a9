"""No module of ours reaches itself through what it imports, be it inside a function or for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
import pytest

import explorer
from explorer.tui import shell


def circles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Modules that import one another in a circle, however long: Tarjan's strongly connected components."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        open_.append(module)
        for other in imports.get(module, ()):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in open_:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = open_.index(module)
            circle = sorted(open_[at:])
            del open_[at:]
            if len(circle) > 1 or module in imports.get(module, ()):
                found.append(circle)

    for module in imports:
        if module not in order:
            visit(module)
    return found


def test_circles_are_found() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["d"], "e": ["a"]}) == [["b", "c"], ["d"]]


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    graph = grimp.build_graph("explorer", cache_dir=None, exclude_type_checking_imports=False)
    found = {module: graph.find_modules_directly_imported_by(module) for module in sorted(graph.modules)}
    for stub in Path(explorer.__file__).parent.rglob("__init__.pyi"):
        # A face loads what it names when it is asked for: that is an import all the same.
        room = ".".join(("explorer", *stub.parent.relative_to(Path(explorer.__file__).parent).parts))
        named = [node for node in ast.parse(stub.read_text()).body if isinstance(node, ast.ImportFrom)]
        found[room] |= {f"{room}.{node.module}" for node in named}
    return found


def test_no_module_imports_itself_through_others(imports: dict[str, set[str]]) -> None:
    assert {"explorer.cli.command", "explorer.tui.app", "explorer.tui.session.source"} <= set(imports)
    assert sum(map(len, imports.values())) > 1000, "the graph has the imports"
    assert circles(imports) == []


def test_the_app_stays_small_and_is_composed() -> None:
    from explorer.tui.app import ExplorerApp

    lines = (Path(shell.__file__).parent / "app.py").read_text().splitlines()
    assert len(lines) < 250
    ours = [each for each in ExplorerApp.__mro__[1:] if each.__module__.startswith("explorer.")]
    assert len(ours) == 1, ours
