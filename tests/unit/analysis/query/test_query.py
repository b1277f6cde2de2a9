"""The query language: what is meant is what is found, and nonsense is pointed at."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from explorer.analysis.query.ast import (
    And,
    Comparison,
    Everything,
    Flag,
    Node,
    Not,
    Or,
    Text,
    all_of,
    any_of,
    comparisons,
)
from explorer.analysis.query.facts import FIELDS, FREE_TEXT, FieldType
from explorer.analysis.query.parse import MAX_DEPTH, MAX_LENGTH, QueryError, compile_query, parse_query
from explorer.model import Owner, Placement, Snapshot, Task, TaskKind, escape_text
from tests.conftest import Run

LAYOUTS = ("isolated", "legacy-6.1")


@pytest.fixture
def snapshot(fixture_snapshots: dict[str, Snapshot]) -> Snapshot:
    return fixture_snapshots["isolated"]


def found(query: str, snapshot: Snapshot) -> list[Task]:
    return list(filter(compile_query(query, snapshot), snapshot.tasks))


def root_of(task: Task, snapshot: Snapshot) -> Placement | None:
    fs = snapshot.fs_by_address.get(task.owned_fs or 0)
    return None if fs is None or fs.root is None else fs.root.placement


# What a query finds


def test_the_empty_query_finds_all(snapshot: Snapshot) -> None:
    assert found("", snapshot) == found("  ", snapshot) == snapshot.tasks


def test_words_side_by_side_narrow_and_or_widens(snapshot: Snapshot) -> None:
    kthreads = [t for t in snapshot.tasks if t.kind is TaskKind.KTHREAD]
    in_nullfs = [t for t in kthreads if root_of(t, snapshot) is Placement.NULLFS]
    assert in_nullfs
    assert found("kind:kthread placement:nullfs", snapshot) == in_nullfs
    assert found("kind:kthread and placement=nullfs", snapshot) == in_nullfs
    both = found("pid:1 or kind:kthread placement:nullfs", snapshot)
    assert len(both) == len(in_nullfs) + 1, "and binds tighter than or"
    assert found("(pid:1 or kind:kthread) pid:1", snapshot) == found("pid:1", snapshot)


def test_a_flag_stands_alone_and_not_turns_it(snapshot: Snapshot) -> None:
    borrowers = [task for task in snapshot.tasks if task.borrowing]
    assert borrowers
    assert found("borrowing", snapshot) == found("Borrowing:yes", snapshot) == borrowers
    assert len(found("not borrowing", snapshot)) == len(snapshot.tasks) - len(borrowers)
    assert found("exited", snapshot) == [t for t in snapshot.tasks if t.owner is Owner.NONE] != []


def test_free_text_is_name_pid_and_path(snapshot: Snapshot) -> None:
    assert 1 in {task.pid for task in found("1", snapshot)}
    assert {t.comm for t in found("KTHREADD", snapshot)} == {"kthreadd"}
    jailed = [
        fs.root.path for fs in snapshot.fs_structs if fs.root and fs.root.path and len(fs.root.path) > 3
    ]
    path = min(jailed, key=len)
    assert any(task.owned_fs for task in found(f'"{escape_text(path)}"', snapshot))


def test_names_are_compared_as_they_are_shown(snapshot: Snapshot) -> None:
    evil = [task for task in snapshot.tasks if "\x1b" in task.name]
    assert evil
    assert found(r"comm~\e", snapshot) == evil
    assert found(f'comm:"{escape_text(evil[0].name)}"', snapshot) == [
        t for t in snapshot.tasks if t.comm == evil[0].comm
    ]


def test_a_missing_value_equals_nothing_and_its_absence_can_be_asked_for(snapshot: Snapshot) -> None:
    exited = found("exited", snapshot)
    assert not [task for task in found("users<1000000", snapshot) if task in exited]
    assert not [task for task in found("root:*", snapshot) if task in exited]
    assert [task for task in found("users!=7", snapshot) if task in exited] == exited
    assert found("not workqueue:*", snapshot) == [
        t for t in snapshot.tasks if t.kthread is None or t.kthread.workqueue is None
    ]


@pytest.mark.parametrize(
    ("query", "texts"),
    [
        ("comm:kworker*", ["kworker/0:1", "kworker"]),
        ("comm:*er?0*", ["kworker/0:1"]),
        ("comm~^KWORK", ["kworker/0:1", "kworker"]),
        ("comm~work", ["kworker/0:1", "kworker", "a worker b"]),
        ("comm~er$", ["kworker"]),
        ("comm~^k*er$", ["kworker"]),
        ("comm~k*:?", ["kworker/0:1"]),
        ("comm:kworker", ["kworker"]),
        ("comm:KWORKER", []),
        ("comm:'a worker b'", ["a worker b"]),
        ("comm~$", ["a$b"]),
    ],
)
def test_wildcards_and_anchors_mean_what_the_documentation_says(
    query: str, texts: list[str], snapshot: Snapshot
) -> None:
    names = ["kworker/0:1", "kworker", "a worker b", "a$b"]
    matches = compile_query(query, snapshot)
    template = snapshot.tasks[0]
    assert [name for name in names if matches(template.model_copy(update={"comm": name}))] == texts


def test_a_hostile_pattern_on_a_hostile_name_takes_no_time_worth_speaking_of(snapshot: Snapshot) -> None:
    """Would hang for ever with a backtracking match."""
    task = snapshot.tasks[0].model_copy(update={"comm": "a" * 100_000})
    for query in (f"comm~{'a*' * 1000}b", f"comm:{'a*' * 1000}b", f"comm~{'*?' * 1000}b$", f"{'*a' * 1000}b"):
        assert not compile_query(query, snapshot)(task)


# What is refused


@pytest.mark.parametrize(
    ("query", "position", "words"),
    [
        ("knd:user", 0, "did you mean kind"),
        ("pid:1 kind:kthred", 11, "did you mean kthread"),
        ("users~3", 5, "~ is for text"),
        ("comm<3", 4, "< is for numbers"),
        ("pid:x", 4, "a number"),
        ("umask:9", 6, "octal"),
        ("borrowing:maybe", 10, "yes or no"),
        ("(pid:1", 6, ") is missing"),
        ("pid:1)", 5, "closes nothing"),
        ("()", 1, "nothing between"),
        ("pid:", 4, "a value is missing"),
        ('comm:"x', 5, "not closed"),
        ("a or", 4, "stops short"),
        ("or a", 0, "does not fit"),
        (":1", 0, "field's name"),
        ("x" * (MAX_LENGTH + 1), MAX_LENGTH, "at most"),
        ("(" * 60 + "a" + ")" * 60, 9, "inside one another"),
        ("not " * 4 * MAX_DEPTH + "a", 4 * 3 * MAX_DEPTH - 4, "inside one another"),
    ],
)
def test_a_bad_query_points_at_the_place_that_is_wrong(query: str, position: int, words: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(query)
    assert caught.value.position == position
    assert words in caught.value.message
    shown, caret, message = caught.value.render().split("\n")
    assert message == caught.value.message
    assert len(query) > 60 or (shown == query and caret == " " * position + "^")


def test_an_error_shows_no_control_characters() -> None:
    with pytest.raises(QueryError) as caught:
        parse_query("pid:\x1b[31m")
    assert "\x1b" not in caught.value.render()


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80),
        st.lists(
            st.sampled_from(
                [*FIELDS, *":~<>=()'\"* ?", "!=", "and", "or", "not", " ", "0x", "7", "a", "\x00"]
            ),
            max_size=25,
        ).map("".join),
    )
)
@example("'BORROWI?'")  # near to a flag, and a text
def test_whatever_is_typed_is_a_query_or_a_query_error(text: str) -> None:
    try:
        query = parse_query(text)
    except QueryError as error:
        assert 0 <= error.position <= len(text)
        assert len(error.render().split("\n")) == 3
    else:
        assert parse_query(str(query)) == query


def test_the_caret_stands_below_the_place_though_characters_are_wide_or_escaped() -> None:
    with pytest.raises(QueryError) as caught:
        parse_query("\u4e2d\u6587 \x07 pid:x")
    shown, caret, _ = caught.value.render().split("\n")
    assert shown == "\u4e2d\u6587 \\x07 pid:x"
    assert len(caret) - 1 == 2 * 2 + len(" \\x07 pid:")


# Any query against a naive reading of it


def _comparison(name: str) -> st.SearchStrategy[Node]:
    field = FIELDS[name]
    pieces = st.sampled_from(
        ["k", "o", "er", "/", "0", "*", "?", "work", "nx", " ", "(", "not", "^", "$", "/jail"]
    )
    text = st.lists(pieces, min_size=0, max_size=4).map("".join)
    if field.type is FieldType.TEXT:
        return st.builds(Comparison, st.just(name), st.sampled_from([":", "!=", "~"]), text)
    if field.type is FieldType.CHOICE:
        return st.builds(
            Comparison, st.just(name), st.sampled_from([":", "!=", "~"]), st.sampled_from(field.choices)
        )
    if field.type is FieldType.FLAG:
        return st.one_of(
            st.just(Flag(name)),
            st.builds(
                Comparison, st.just(name), st.sampled_from([":", "!="]), st.sampled_from(["yes", "no", "1"])
            ),
        )
    numbers = st.sampled_from(["0", "1", "2", "22", "57"])
    return st.builds(Comparison, st.just(name), st.sampled_from([":", "!=", "<", "<=", ">", ">="]), numbers)


_LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.sampled_from(sorted(FIELDS)).flatmap(_comparison),
    st.sampled_from(["kworker", "1", "", "and", "borrowing", "a b", "pid:1", "*x", "(", "it's", "/"]).map(
        Text
    ),
)
QUERIES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(all_of),
        st.lists(inner, min_size=2, max_size=3).map(any_of),
    ),
    max_leaves=8,
)


def _naive_text(sign: str, pattern: str, text: str) -> bool:
    pattern = pattern.replace("[", "[[]")
    if sign == ":":
        return fnmatchcase(text, pattern)
    pattern, text = pattern.lower(), text.lower()
    ends = len(pattern) > 1 and pattern.endswith("$")
    pattern = pattern[:-1] if ends else f"{pattern}*"
    return fnmatchcase(text, pattern[1:] if pattern.startswith("^") else f"*{pattern}")


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, tuple) else () if value is None else (value,)
    return [escape_text(str(text)) for text in values]


def naive(node: Node, task: Task, snapshot: Snapshot) -> bool:
    """The documentation, read literally."""
    match node:
        case Everything():
            return True
        case Flag(name):
            return bool(FIELDS[name].get(task, snapshot))
        case Text(text):
            texts = _texts(FREE_TEXT.get(task, snapshot))
            return str(task.pid) == text or any(_naive_text("~", text, found) for found in texts)
        case Not(operand):
            return not naive(operand, task, snapshot)
        case And(operands):
            return all(naive(operand, task, snapshot) for operand in operands)
        case Or(operands):
            return any(naive(operand, task, snapshot) for operand in operands)
        case Comparison(name, "!=", value):
            return not naive(Comparison(name, ":", value), task, snapshot)
        case Comparison(name, sign, value):
            field = FIELDS[name]
            has: Any = field.get(task, snapshot)
            if field.type in (FieldType.TEXT, FieldType.CHOICE):
                return any(_naive_text(sign, value, text) for text in _texts(has))
            if field.type is FieldType.FLAG:
                return bool(has) == (value in ("yes", "1"))
            wanted = int(value, 8) if field.type is FieldType.OCTAL else float(value)
            return has is not None and bool(
                {
                    ":": has == wanted,
                    "<": has < wanted,
                    "<=": has <= wanted,
                    ">": has > wanted,
                    ">=": has >= wanted,
                }[sign]
            )


@settings(max_examples=150, deadline=None)
@given(QUERIES)
def test_printing_a_query_and_parsing_it_again_gives_the_same_query(node: Node) -> None:
    assert parse_query(str(node)).root == node
    assert str(parse_query(str(node))) == str(node)


@settings(max_examples=80, deadline=None)
@given(node=QUERIES, layout=st.sampled_from(LAYOUTS))
def test_a_query_finds_what_a_naive_reading_of_it_finds(
    fixture_snapshots: dict[str, Snapshot], node: Node, layout: str
) -> None:
    snapshot = fixture_snapshots[layout]
    expected = [task.address for task in snapshot.tasks if naive(node, task, snapshot)]
    assert [task.address for task in found(str(node), snapshot)] == expected


def test_every_field_is_documented_and_answers_for_every_task(fixture_snapshots: dict[str, Snapshot]) -> None:
    for snapshot in fixture_snapshots.values():
        for field in FIELDS.values():
            assert field.help
            assert re.fullmatch(r"[a-z_]+(\.[a-z]+)?", field.name)
            for task in snapshot.tasks:
                value = field.get(task, snapshot)
                if field.type is FieldType.CHOICE and value is not None:
                    assert set(_texts(value)) <= set(field.choices)


def test_the_comparisons_of_a_query_can_be_listed() -> None:
    root = parse_query("pid:1 (not comm~x or placement:nullfs) borrowing").root
    assert [node.field for node in comparisons(root)] == ["pid", "comm", "placement"]


# The command


def test_where_shows_only_what_matches_and_how_many_of_how_many(run: Run, snapshot: Snapshot) -> None:
    result = run("tasks", "sample", "--all", "--where", "kind:kthread borrowing or pid:1")
    expected = [t for t in snapshot.tasks if t.pid == 1 or (t.borrowing and t.kind is TaskKind.KTHREAD)]
    assert result.returncode in (0, 4)
    assert f"{len(expected)} of {len(snapshot.tasks)} tasks match." in result.stdout
    table = result.stdout.split("\n\n", 1)[1].splitlines()[1:]
    assert [int(line.split()[0]) for line in table] == [task.pid for task in expected]


def test_a_folded_row_says_how_many_of_its_sharers_match(run: Run, snapshot: Snapshot) -> None:
    sharers = len([task for task in snapshot.tasks if task.owner is Owner.INIT_FS])
    result = run("tasks", "sample", "--where", "comm:kthreadd")
    rows = result.stdout.split("\n\n", 1)[1].splitlines()[1:]
    assert len(rows) == 1
    assert f"1 of {sharers}: kthreadd" in rows[0]


def test_a_bad_where_exits_with_2_and_a_caret_before_any_target_is_opened(run: Run) -> None:
    result = run("tasks", "no-such-file", "--where", "pid:1 kind:kthred")
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert lines[lines.index("pid:1 kind:kthred") + 1] == " " * 11 + "^"
    assert "no-such-file" not in result.stderr


def test_help_imports_no_parser() -> None:
    code = (
        "import sys; from explorer.cli.commands.tasks import tasks_command; sys.exit('lark' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
