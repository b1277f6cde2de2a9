"""The one file, built once for all tests of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.standalone.build import build_standalone


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("standalone") / "nullfs-explorer"
    build_standalone(file)
    return file
