"""What is written of the fixtures is what it was, byte for byte: see :mod:`tests.exports`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exports import SUBJECTS, digest, exports_of, read_digests


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_export_has_the_bytes_that_it_had(subject: str, tmp_path: Path) -> None:
    found = {name: digest(content) for name, content in exports_of(subject, tmp_path)}
    known = {name: said for name, said in read_digests().items() if name.startswith(f"{subject}: ")}
    assert found.keys() == known.keys(), "python -m tests.exports writes the digests anew"
    changed = [name for name in found if found[name] != known[name]]
    assert not changed, "python -m tests.exports DIRECTORY, here and at an earlier commit, shows what changed"
