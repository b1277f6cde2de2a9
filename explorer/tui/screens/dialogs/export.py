"""The export dialog: a format, a file name, and what came of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from explorer.model import escape_text
from explorer.output import OutputError, RowFormat, RowSet, file_name, save_rows
from explorer.tui.keys import hidden, shown
from explorer.tui.widgets import NO_CONTROL

__all__ = ("ExportScreen",)

_FORMATS = tuple(RowFormat)
_WIDEST = max(len(form.label) for form in _FORMATS)


class FormatList(Static, can_focus=True):
    """The formats; a click picks one."""

    def on_click(self, event: object) -> None:
        offset = getattr(event, "y", 0)
        screen = self.screen
        if isinstance(screen, ExportScreen) and 0 <= offset < len(_FORMATS):
            screen.action_pick(offset)


class ExportScreen(ModalScreen[str | None]):
    """Writes rows to a file. Its result is one line that says what was written; ``None``: nothing was."""

    CSS = """
    ExportScreen { align: center middle; }
    #exportbox { width: 76; max-width: 96%; height: auto; border: round $primary; background: $surface; padding: 0 1; }
    #exportbox Static, #exportbox Input { background: $surface; }
    #formats:focus { text-style: bold; }
    #exportname { margin: 1 0 0 0; }
    #exportsays { height: auto; max-height: 4; }
    #exportsays.wrong { color: $error; text-style: bold; }
    """
    AUTO_FOCUS = "#formats"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("enter", "write", "export.write", "Write", "Write the file", first=True),
        shown("escape", "cancel", "export.cancel", "Cancel", "Write nothing", first=True),
        *(
            hidden(str(number + 1), f"pick({number})", f"export.{form.value}", f"As {form.label}")
            for number, form in enumerate(_FORMATS)
        ),
        hidden("down,right,j,l", "step(1)", "export.next", "The next format"),
        hidden("up,left,k,h", "step(-1)", "export.previous", "The format before"),
        shown("tab", "other", "export.other", "File name", "To the file name and back", first=True),
    ]

    def __init__(self, rows: RowSet, now: datetime | None = None) -> None:
        super().__init__()
        self._rows = rows
        self._now = now or datetime.now()
        self._format = RowFormat.JSON
        self._replaceable: Path | None = None
        self._writing = False

    def compose(self) -> ComposeResult:
        with Vertical(id="exportbox") as box:
            total = len(self._rows.rows)
            box.border_title = Content(f"export {total} {self._rows.name}")
            if self._rows.query:
                yield Static(Content(f"that match {escape_text(self._rows.query)}"), markup=False)
            yield FormatList(id="formats", markup=False)
            yield Input(
                file_name(self._rows.name, self._format, self._now),
                id="exportname",
                restrict=NO_CONTROL,
                compact=True,
            )
            yield Static(id="exportsays", markup=False)
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        self.app.clear_notifications()  # they would lie on what they have nothing to do with
        self._show_formats()
        self._say(f"into {escape_text(str(Path.cwd()))}, unless the name says where; only you may read it")

    def _show_formats(self) -> None:
        lines = [
            f"{'▸' if form is self._format else ' '} {number}  {form.label:<{_WIDEST}}  {form.what}"
            for number, form in enumerate(_FORMATS, 1)
        ]
        self.query_one("#formats", Static).update(Content("\n".join(lines)))

    def _say(self, text: str, wrong: bool = False) -> None:
        says = self.query_one("#exportsays", Static)
        says.update(Content(text))
        says.set_class(wrong, "wrong")

    def action_step(self, step: int) -> None:
        self.action_pick((_FORMATS.index(self._format) + step) % len(_FORMATS))

    def action_pick(self, number: int) -> None:
        """Choose a format; the name's ending follows, if it is still that of the format before."""
        before, self._format = self._format, _FORMATS[number]
        box = self.query_one("#exportname", Input)
        if box.value.endswith(before.suffix):
            box.value = box.value.removesuffix(before.suffix) + self._format.suffix
        self._show_formats()

    def action_other(self) -> None:
        box = self.query_one("#exportname", Input)
        self.set_focus(self.query_one("#formats") if box.has_focus else box)

    def action_cancel(self) -> None:
        if not self._writing:
            self.dismiss(None)

    def action_write(self) -> None:
        name = self.query_one("#exportname", Input).value.strip()
        if not name:
            self._say("There is no file name.", wrong=True)
        elif not self._writing:
            self._writing = True
            self._say("writing …")
            self._write(Path(name))

    @work(exclusive=True)
    async def _write(self, path: Path) -> None:
        """Many rows take a second: off the screen's time."""
        try:
            path = path.expanduser()
            replace = path == self._replaceable
            if path.exists() and not path.is_dir() and not replace:
                self._replaceable = path
                self._say(f"{escape_text(str(path))} is there already: enter again replaces it", wrong=True)
                return
            count = await asyncio.to_thread(save_rows, self._rows, self._format, path, replace)
        except (OutputError, OSError, RuntimeError, ValueError) as error:
            self._say(escape_text(str(error)), wrong=True)
        else:
            self.dismiss(f"{count} {self._rows.name} in {escape_text(str(path.absolute()))}")
        finally:
            self._writing = False
