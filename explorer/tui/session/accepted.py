"""The findings that the user has accepted: read from a baseline, changed by a key, written back at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from explorer.analysis import Acceptance, finding_subject, with_entry
from explorer.codec import BaselineError, load_baseline, write_baseline
from explorer.model import Baseline, Finding, escape_text
from explorer.naming import count
from explorer.output import OutputError, open_output
from explorer.tui.settings import baseline_file, make_config_directory

if TYPE_CHECKING:
    from .state import View

__all__ = ("AcceptedFindings",)


class AcceptedFindings:
    """What one baseline accepts. A file that is not there yet is an empty one, and is made when something is accepted.

    :param path: the file; ``None``: the one beside the settings, or that they name
    """

    def __init__(self, path: Path | None = None) -> None:
        self._ours = path is None
        self.path = baseline_file() if path is None else path
        self.number = 0
        """Counts changes: a screen that shows an older state is stale."""
        self.problem: str | None = None
        """Why the file is not used; escaped."""
        self._baseline = Baseline(accepted=[])
        try:
            self._take(self._read())
        except BaselineError as error:
            self.problem = escape_text(f"no finding is accepted: {error}")

    def judge(self, view: View) -> Callable[[Finding], str | None]:
        """What accepts each finding of a view: the file's name; ``None``: nothing does."""
        acceptance = Acceptance(view.found, self._baseline, self.path.name)
        return lambda finding: finding.accepted or acceptance.by(finding)

    def toggle(self, findings: Sequence[Finding], view: View) -> str:
        """Accept these of a view, or if all of them are, take that back. What came of it, in words; escaped.

        With each those that a baseline cannot tell from it: they are about the same, as far as a reboot leaves it.
        """
        by = self.judge(view)
        accept = any(by(finding) is None for finding in findings)
        try:
            baseline = self._read()  # somebody else may have changed it
            for finding in findings:
                baseline = with_entry(baseline, finding, view.found, accepted=accept)
            if self._ours:
                make_config_directory()
            with open_output(self.path) as out:
                write_baseline(baseline, out)
        except (BaselineError, OutputError, OSError, ValueError) as error:
            return escape_text(f"Nothing is changed: {error}")
        self.problem = None
        self._take(baseline)
        same = {(finding.rule, finding_subject(finding)) for finding in findings}
        of_same = [each for each in view.audit.findings if (each.rule, finding_subject(each)) in same]
        what = count(len(of_same), "finding")
        name = escape_text(str(self.path))
        return f"{what} accepted, in {name}" if accept else f"{what} not accepted any more, in {name}"

    def _read(self) -> Baseline:
        try:
            return load_baseline(self.path)
        except BaselineError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return Baseline(accepted=[])
            raise

    def _take(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self.number += 1
