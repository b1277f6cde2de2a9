"""Accepted findings that are kept where this user may not look: it is said, and the app opens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from explorer.tui.session.accepted import AcceptedFindings

_NOBODY = 65534


@pytest.fixture
def of_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of settings that is root's alone, while this process is nobody."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    directory = tmp_path / "nullfs-explorer"
    directory.mkdir(mode=0o700)
    os.setresuid(-1, _NOBODY, 0)
    try:
        yield directory
    finally:
        os.setresuid(-1, 0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_findings_accepted_where_this_user_may_not_look_cost_the_accepting_and_not_the_app(
    of_root: Path,
) -> None:
    accepted = AcceptedFindings()
    assert (
        accepted.problem
        == f"no finding is accepted: cannot read {of_root / 'accepted.json'}: Permission denied"
    )
