"""Markdown tables: what a kernel says is shown, never obeyed."""

from __future__ import annotations

import io

import pytest

from explorer.output.markdown import escape_markdown, write_markdown


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
