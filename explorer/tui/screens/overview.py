"""The first screen: the verdict, the two worlds and the bridge between them, the others, and what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget
from textual.widgets import Static

from explorer.model import display_width
from explorer.output import fit_middle
from explorer.tui.keys import hidden, key_of, shown
from explorer.tui.session import View, in_background, note_input
from explorer.tui.views.details import FindingRow, RecordTable, findings_line, findings_table
from explorer.tui.widgets import DoorBox, VirtualTable, titled_width

from .base import BrowserScreen
from .places import Place

__all__ = ("OverviewScreen",)

_TONES = ("good", "warn", "bad")
_MOST_OTHERS = 9
#: The boxes that have a key each: from the left to the right, the two worlds and the bridge first.
_NTH = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth")
#: Lines of the verdict's sentence; terminal columns beside it and its word.
_MOST_LINES, _WORD_FRAME = 4, 6
#: Terminal columns and lines from which on there is more below the findings.
_ROOMY = (150, 40)
#: The boxes below the findings.
_MORE = ("borrowers", "shared", "kernel")


class FindingsList(VirtualTable):
    """Up from its first row leads out of it, to the boxes above; down from its last to those below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        hidden("space", "choose", "finding.open", "Open the finding, as enter does"),
    ]

    def action_move(self, step: int) -> None:
        is_edge = self.row == 0 if step < 0 else self.row + 1 >= self._count()
        if is_edge and isinstance(self.screen, OverviewScreen):
            self.screen.action_go_row(step)
        else:
            super().action_move(step)


class OverviewScreen(BrowserScreen):
    """Readable in five seconds; every box is a door."""

    AUTO_FOCUS = "#left"
    BINDINGS: ClassVar[list[BindingType]] = [
        shown("slash", "app.filter", "overview.filter", "Filter", "Filter the tasks"),
        hidden("down,j", "go_row(1)", "overview.down", "To the boxes below, then the findings"),
        hidden("up,k", "go_row(-1)", "overview.up", "To the boxes above"),
        hidden("b", "app.inside('borrowing')", "overview.borrowers", "Who borrows now"),
        *(
            hidden(str(number), f"open_door({number})", f"overview.door-{number}", f"Into the {nth} box")
            for number, nth in enumerate(_NTH, 1)
        ),
    ]

    _accepted = 0
    """Which state of the accepted findings is shown."""
    _lookups = ""
    """What is said of lookups."""

    def compose_body(self) -> ComposeResult:
        with Vertical(id="verdict"):
            with Horizontal(id="verdictline"):
                yield Static(id="word", markup=False)
                yield Static(id="sentence", markup=False)
            yield Static(id="normal", markup=False)
        with Horizontal(id="worlds"):
            yield DoorBox(id="left", classes="world")
            yield DoorBox(id="bridge")
            yield DoorBox(id="right", classes="world")
        with Horizontal(id="others"):
            for number in range(_MOST_OTHERS):
                yield DoorBox(id=f"other{number}", classes="other")
        yield Static(id="root", markup=False)
        yield Static(id="lookupsline", markup=False)
        yield Static(id="findingshead", markup=False)
        yield FindingsList(id="findings", empty="no findings")
        with Horizontal(id="more"):
            for name in _MORE:
                yield DoorBox(id=name, classes="more")

    def show_view(self, view: View) -> None:
        overview = view.overview
        verdict = overview.verdict
        word = self.query_one("#word", Static)
        word.update(Content(f" {verdict.word} "))
        for tone in _TONES:
            word.set_class(tone == verdict.tone, tone)
        self._show_sentence(view)
        self.query_one("#normal", Static).update(Content(verdict.normal))
        self.query_one("#root", Static).update(Content(overview.root))
        self._show_doors(view)
        if view.is_audited:
            self._show_findings(view)
        else:
            self.query_one("#findingshead", Static).update(Content("findings  looking for them …"))
            self.query_one("#findings").display = False
            # The findings are below what is read first: that is painted before they are looked for. What is above them
            # is laid out and painted a little later than this screen is: as after a key, they wait.
            note_input()
            self.call_after_refresh(self._audit, view)

    @work(thread=True, exclusive=True)
    def _audit(self, view: View) -> None:
        """Rules over very many tasks take a second or two: not on the screen's time."""
        with in_background():
            _ = view.found
        self.app.call_from_thread(self._show_findings, view)

    def _show_findings(self, view: View) -> None:
        if view is not self._shown or not self.is_there:
            return
        findings, by = view.audit.findings, self.shell.accepted.judge(view)
        self._accepted = self.shell.accepted.number
        head = findings_line(findings, by)
        if view.audit.errors:
            head += f"   {len(view.audit.errors)} audits failed (! says which)"
        self.query_one("#findingshead", Static).update(Content(head))
        table = self.query_one("#findings", VirtualTable)
        table.display = bool(findings)
        room = self.size.width - self.styles.gutter.width - 2
        table.show(findings_table(findings, by, room=room), table.row)

    def _show_sentence(self, view: View) -> None:
        """What is in its middle is a name: an absurdly long one does not push the rest away."""
        verdict = view.overview.verdict
        line = max(1, self.size.width - display_width(verdict.word) - _WORD_FRAME)
        sentence = fit_middle(verdict.sentence, _MOST_LINES * line)
        self.query_one("#sentence", Static).update(Content(sentence))

    def _show_doors(self, view: View) -> None:
        overview = view.overview
        folded = sum(map(titled_width, overview.others)) > self.size.width
        self.query_one("#others").set_class(folded, "folded")
        self.query_one("#left", DoorBox).show_door(overview.left, False)
        self.query_one("#bridge", DoorBox).show_door(overview.bridge, False)
        self.query_one("#right", DoorBox).show_door(overview.right, False)
        for number in range(_MOST_OTHERS):
            door = overview.others[number] if number < len(overview.others) else None
            self.query_one(f"#other{number}", DoorBox).show_door(door, folded)
        roomy = self.size.width >= _ROOMY[0] and self.size.height >= _ROOMY[1]
        self.set_class(roomy, "-roomy")
        for name in _MORE:
            self.query_one(f"#{name}", DoorBox).show_door(getattr(view.more, name) if roomy else None, False)

    def catch_up(self) -> None:
        """Also after findings were accepted elsewhere."""
        super().catch_up()
        view = self._shown
        if view is not None and view.is_audited and self._accepted != self.shell.accepted.number:
            self._show_findings(view)

    def show_status(self) -> None:
        """Also how many lookups have failed, while the kernel is traced."""
        super().show_status()
        if self.is_there:
            text, line = self.shell.tracing.failed_line, self.query_one("#lookupsline", Static)
            line.display = bool(text)
            line.set_class(bool(self.shell.tracing.bad), "bad")
            if text != self._lookups:
                self._lookups = text
                key = key_of(self, "go.lookups")
                line.update(Content(f"{text}   {key} shows the lookups" if key else text))

    def on_resize(self, event: events.Resize) -> None:
        if self._shown is not None:
            self._show_sentence(self._shown)
            self._show_doors(self._shown)
            if self._shown.is_audited:
                self._show_findings(self._shown)

    def place(self) -> Place:
        return replace(super().place(), row=self.query_one("#findings", VirtualTable).row)

    def come_back(self, place: Place) -> bool:
        self.query_one("#findings", VirtualTable).put_cursor(place.row)
        return super().come_back(place)

    def _rows_of_doors(self) -> list[list[Widget]]:
        """What the keyboard can go to, from top to bottom."""
        rows: list[list[Widget]] = []
        for group in ("#worlds DoorBox", "#others DoorBox", "#findings", "#more DoorBox"):
            found = [widget for widget in self.query(group) if widget.display and widget.can_focus]
            if found:
                rows.append(found)
        return rows

    def action_go_row(self, step: int) -> None:
        """Up or down: to what lies nearest there."""
        rows, focused = self._rows_of_doors(), self.focused
        at = next((number for number, row in enumerate(rows) if focused in row), None)
        if focused is None or at is None:
            self.set_focus(rows[0][0])
        elif 0 <= at + step < len(rows):
            middle = focused.region.x + focused.region.width // 2
            self.set_focus(min(rows[at + step], key=lambda door: _distance(door.region, middle)))

    def action_open_door(self, number: int) -> None:
        """Into the box of a number, from the left to the right and from the top."""
        doors = [door for door in self.query(DoorBox) if door.display]
        if number <= len(doors):
            doors[number - 1].action_enter()
        else:
            self.shell.say(f"There are {len(doors)} boxes.")

    @on(DoorBox.Entered)
    def _entered(self, event: DoorBox.Entered) -> None:
        self.shell.filter_tasks(event.door.query)

    @on(VirtualTable.Chosen, "#findings")
    def _chosen(self, event: VirtualTable.Chosen) -> None:
        source, view = event.table.source, self.shell.view
        if isinstance(source, RecordTable) and view is not None:
            row: FindingRow = source.records[event.row]
            self.shell.show_finding(view.audit.findings.index(row.first))


def _distance(region: Region, x: int) -> int:
    """Terminal columns between a widget and a column of the screen; 0: it is above or below it."""
    return max(region.x - x, x - region.right + 1, 0)
