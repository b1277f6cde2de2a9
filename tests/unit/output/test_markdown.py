"""Markdown tables: what a kernel says is shown, never obeyed."""

from __future__ import annotations

import io
import re

import pytest

from explorer.output.markdown import escape_markdown, write_markdown
from tests.conftest import SAMPLE, Run


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("kworker/0:1", "kworker/0:1"),
        ("rootfs#2:/jail", "rootfs#2:/jail"),
        ("a|b", "a\\|b"),
        ("\\e[31m", "\\\\e\\[31m"),
        ("`x`", "\\`x\\`"),
        ("<img src=x>", "&lt;img src=x&gt;"),
        ("&lt;", "&amp;lt;"),
        ("mm_percpu_wq", "mm\\_percpu\\_wq"),
        ("http://x", "http&#58;//x"),
        ("WWW.x.y", "WWW&#46;x.y"),
        ("@root", "&#64;root"),
    ],
)
def test_text_is_written_so_that_it_reads_as_it_is(text: str, written: str) -> None:
    assert escape_markdown(text) == written


def test_every_row_has_as_many_cells_as_the_header_whatever_is_in_them() -> None:
    out = io.BytesIO()
    assert write_markdown("a | b", ["A", "B|"], [["1|", "\\"], ["", "\\|"]], out) == 2
    lines = out.getvalue().decode().splitlines()[2:]
    for line in lines:
        bare = line.replace("\\\\", "").replace("\\|", "")
        assert bare.count("|") == 3


def test_no_line_above_a_table_begins_a_block_of_its_own() -> None:
    out = io.BytesIO()
    write_markdown("x", ["A"], [["1"]], out, ["# big", "- item", "1. one", "Linux 7.3"])
    assert out.getvalue().decode().splitlines()[2:6] == [
        "- \\# big",
        "- \\- item",
        "- 1\\. one",
        "- Linux 7.3",
    ]


@pytest.mark.parametrize(
    ("command", "header"),
    [
        (("tasks",), "| PLACEMENT | FS\\_STRUCT | USERS | ROOT | PWD | UMASK | WHO |"),
        (("tasks", "--all"), "| PID | NAME | KIND | S | OWNER | USERS | ROOT | PWD | UMASK | RUNS |"),
        (("plugins",), "| PLUGIN | NEEDS | HERE | TITLE |"),
        (("audit",), "| SEVERITY | RULE | FINDING | MEANS | DO |"),
    ],
    ids=" ".join,
)
def test_every_table_command_writes_markdown_whose_rows_have_as_many_cells_as_its_header(
    run: Run, command: tuple[str, ...], header: str
) -> None:
    lines = run(*command, SAMPLE, "--format", "markdown").stdout.splitlines()
    assert lines[0].startswith("# ") and header in lines
    rows = lines[lines.index(header) + 2 :]
    assert len(rows) > 5
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {header.count("|")}


def test_markdown_is_not_cut_to_a_width_and_shows_the_rows_that_the_filter_leaves(run: Run) -> None:
    printed = run(
        "tasks", "--all", SAMPLE, "--format", "markdown", "--where", "pid:2", "--width", "40"
    ).stdout
    assert "1 of 111 tasks match" in printed
    assert printed.splitlines()[-1].startswith("| 2 | kthreadd | kthread |") and "…" not in printed
