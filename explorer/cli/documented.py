"""Commands whose help ends with the page of the documentation that has more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from explorer.wire import PROGRAM

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ("Documented", "DocumentedGroup", "find_page")

#: Where an installation puts README.md and docs/, below its prefix.
_INSTALLED = f"share/doc/{PROGRAM}/"


def find_page(page: str) -> str:
    """The file of a page, in a checkout or as it was installed; its name alone where neither is (``make standalone``).

    :param page: as the repository names it, from its top
    """
    top = Path(__file__).parents[2]
    if (top / "pyproject.toml").is_file():
        return str(top / page)
    from importlib.metadata import PackageNotFoundError, files

    try:
        installed = files(PROGRAM) or ()
    except PackageNotFoundError:
        return page
    for each in installed:
        if str(each).endswith(_INSTALLED + page) and (path := Path(str(each.locate()))).is_file():
            return str(path.resolve())
    return page


class Documented(click.Command):
    """A command with a page."""

    def __init__(self, *arguments: Any, page: str, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.page = page

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write(f"\n  More: {click.format_filename(find_page(self.page))}\n")


class DocumentedGroup(Documented, click.Group):
    """Lists its commands without importing them.

    :param summaries: command -> what help says of it, in the order of that
    """

    def __init__(self, *arguments: Any, summaries: Mapping[str, str], **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.summaries)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        named = [(name, said) for name, said in self.summaries.items() if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=said) for name, said in named]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))
