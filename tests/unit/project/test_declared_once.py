"""What docs/how-to-add.md counts on: a format is named where it is declared, and a field of a task is a fact."""

from __future__ import annotations

import ast
from pathlib import Path

import explorer
from explorer.analysis.query.facts import FACTS
from explorer.model import Task
from explorer.targets.dumps.containers import DUMPS, RANGED

_ROOT = Path(explorer.__file__).parent
#: Fields of a task that are no fact of the same name, and why.
_OTHERWISE = {
    "start_time": "the fact is started, in seconds",
    "kthread": "its members are facts",
    "walk": "walking and walk.path are facts",
    "waiting_s": "the fact is waiting",
    "stack": "frames, which the detail shows as such",
    "stack_base": "an address lies in the stack: @ goes there, and free text finds it",
    "user_ns": "read for tasks that share an fs_struct only, for a rule",
}


def test_every_field_of_a_task_can_be_asked_for_or_is_an_exception_with_a_reason() -> None:
    missing = {name for name in Task.model_fields if name not in FACTS}
    assert missing == set(_OTHERWISE)


def test_no_format_of_ranges_is_named_but_where_it_is_declared_and_read() -> None:
    allowed = {"containers.py", "ranged.py"}
    names = {form.name for form in RANGED}
    assert names <= {form.name for form in DUMPS}
    named = {
        path.name
        for path in _ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Format" and node.attr in names
    }
    assert named == allowed
