"""Writes the man pages: ``python -m tests.make_man``.

One for each command, from what click knows of it, as help has it. What the first page says beside that comes from the
README and ``docs/``; where files are, and which variables matter, is said here. No kept generator does this:
they list what a group has loaded, and ours loads a command when it is used; and they leave lines that begin with a dot.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from explorer.cli.completion import COMPLETION
from explorer.cli.documented import Documented, DocumentedGroup
from explorer.version import __version__
from explorer.wire import PROGRAM
from tests.commands import every_command

__all__ = ("MAN", "man_pages")

ROOT = Path(__file__).parents[1]
MAN = ROOT / "man"
_SPECIAL = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
_FILES = {
    f"$XDG_CONFIG_HOME/{PROGRAM}/settings.json": "Theme, keys and views of the app. By default below ~/.config.",
    f"$XDG_CONFIG_HOME/{PROGRAM}/accepted.json": "The findings that were accepted in the app.",
    f"$XDG_CACHE_HOME/{PROGRAM}/*.nxcache": "Types and symbols, a file for each kernel. By default below ~/.cache.",
    f"share/doc/{PROGRAM}": "The documentation, below the prefix of the installation: help ends with its path.",
}
_ENVIRONMENT = {
    "XDG_CONFIG_HOME, XDG_CACHE_HOME": "Where these files are.",
    "TMPDIR": "Where dumps are decompressed, and put together.",
    "SUDO_UID, SUDO_GID, PKEXEC_UID, DOAS_USER": "Who called a process of root's: it goes on with that user's "
    "rights once a target is open.",
    COMPLETION: "For the completion of a shell: bash_source, zsh_source or fish_source prints it.",
}


def man_pages() -> dict[str, str]:
    """Name of a file -> the page."""
    contexts = list(every_command())
    return {f"{_name(context)}.1": _page(context, contexts) for context in contexts}


def _name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _roff(text: str) -> str:
    """Text as the page is to show it, whatever it begins with."""
    shown = "".join(_SPECIAL.get(c, c) if c.isascii() else rf"\[u{ord(c):04X}]" for c in text)
    return rf"\&{shown}" if shown.startswith(".") else shown


def _markdown(text: str) -> str:
    """A line of our pages: what is between backticks is bold, of a link the words stay."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("**", "")
    parts = re.split(r"`([^`]*)`", text)
    return "".join(
        rf"\fB{_roff(part)}\fR" if at % 2 else _roff(part) for at, part in enumerate(parts) if part
    )


def _paragraphs(text: str) -> Iterator[str]:
    for at, paragraph in enumerate(re.split(r"\n\s*\n", textwrap.dedent(text).strip())):
        if at:
            yield ".PP"
        yield _roff(" ".join(paragraph.split()))


def _terms(items: dict[str, str]) -> Iterator[str]:
    """What is ready to be printed, with its term before it."""
    for term, said in items.items():
        yield from (".TP", term, said)


def _page(context: click.Context, contexts: list[click.Context]) -> str:
    command = context.command
    assert isinstance(command, Documented)
    usage = " ".join(command.collect_usage_pieces(context))
    lines = [
        f'.TH {_roff(_name(context).upper())} 1 "" "{PROGRAM} {__version__}" "{PROGRAM}"',
        ".SH NAME",
        rf"{_roff(_name(context))} \- {_roff(_summary(context))}",
        ".SH SYNOPSIS",
        rf"\fB{_roff(context.command_path)}\fR {_roff(usage)}",
        ".SH DESCRIPTION",
        *_paragraphs(command.help or ""),
    ]
    said, _, codes = " ".join((command.epilog or "").split()).partition("Exit codes")
    if said:
        lines += [".SH TARGET" if context.parent is None else ".PP", _roff(said.strip())]
    if context.parent is None:
        lines += _terms(_table("docs/targets.md", "## What opens"))
    lines += [".SH OPTIONS", *_terms(_options(context))]
    if isinstance(command, DocumentedGroup):
        lines += [".SH COMMANDS", *_terms(_commands(context, command))]
    if context.parent is None:
        lines += _first_page()
    elif codes:
        lines += [".SH EXIT STATUS", _roff(codes.lstrip(":, "))]
    others = [each for each in contexts if each.parent is context or each is context.parent]
    others += [each for each in contexts if each.parent is context.parent and each is not context]
    see = [rf"\fB\%{_roff(_name(each))}\fR(1)" for each in others]
    lines += [".SH SEE ALSO", *(f"{each}," for each in see)]
    lines += [rf"{_roff(command.page)} in \fB{_roff(f'share/doc/{PROGRAM}')}\fR"]
    return "\n".join(lines) + "\n"


def _summary(context: click.Context) -> str:
    if context.parent is None:
        text = (context.command.help or "").partition("\n")[0]
    else:
        group = context.parent.command
        assert isinstance(group, DocumentedGroup) and context.info_name is not None
        text = group.summaries[context.info_name]
    return text.strip().rstrip(".")


def _options(context: click.Context) -> dict[str, str]:
    options = [each for each in context.command.get_params(context) if isinstance(each, click.Option)]
    records = [option.get_help_record(context) for option in options]
    return {_names(record[0]): _roff(record[1]) for record in records if record is not None}


def _names(record: str) -> str:
    """The option bold, what it takes in italics."""
    words = re.split(r"([ ,/|\[\]]+)", record)
    fonts = [
        rf"\fB{_roff(word)}\fR" if word.startswith("-") else rf"\fI{_roff(word)}\fR" for word in words[::2]
    ]
    between = [*map(_roff, words[1::2]), ""]
    return "".join(a + b for a, b in zip(fonts, between, strict=True)).replace(r"\fI\fR", "")


def _commands(context: click.Context, group: DocumentedGroup) -> dict[str, str]:
    path = context.command_path
    return {rf"\fB{_roff(f'{path} {name}')}\fR": _roff(said) for name, said in group.summaries.items()}


def _first_page() -> Iterator[str]:
    yield ".SH EXIT STATUS"
    yield from _terms(_table("docs/snapshot.md", "## Exit codes"))
    yield ".SH FILES"
    yield from _terms({rf"\fI{_roff(name)}\fR": _roff(said) for name, said in _FILES.items()})
    yield ".SH ENVIRONMENT"
    yield from _terms({rf"\fB{_roff(name)}\fR": _roff(said) for name, said in _ENVIRONMENT.items()})
    yield ".SH EXAMPLES"
    yield from _terms(_table("README.md", "## You have, say"))


def _table(page: str, heading: str) -> dict[str, str]:
    """The rows of the two-column table below a heading of one of our pages."""
    section = (ROOT / page).read_text().partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", section, re.MULTILINE)[1:]
    assert rows, f"{page} has no table below {heading}"
    return {_markdown(left): _markdown(right) for left, right in rows}


if __name__ == "__main__":
    for old in MAN.glob("*.1"):
        old.unlink()
    for name, page in man_pages().items():
        (MAN / name).write_text(page)
