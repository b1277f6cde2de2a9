"""A promise without a test is no promise: each of SECURITY.md names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
_REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def promises() -> list[str]:
    text = (ROOT / "SECURITY.md").read_text().partition("## Promises\n")[2].partition("\n## ")[0]
    return re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)


def names_of_tests(path: Path) -> set[str]:
    found = ast.walk(ast.parse(path.read_text()))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_promise_of_the_security_page_names_a_test_that_attacks_it() -> None:
    assert len(promises()) > 20
    assert [promise for promise in promises() if not _REFERENCE.search(promise)] == []


def test_every_test_that_the_security_page_names_is_there() -> None:
    named = _REFERENCE.findall((ROOT / "SECURITY.md").read_text())
    assert len(named) > 30
    known = {file: names_of_tests(ROOT / file) if (ROOT / file).exists() else set() for file, _ in named}
    gone = [f"{file}::{name}" for file, name in named if name not in known[file]]
    assert gone == []
