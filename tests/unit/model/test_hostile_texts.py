"""Names of a hundred thousand characters, as a stranger's snapshot may have: no search in them may begin ever again."""

from __future__ import annotations

import pytest

from explorer.analysis.diff.contrast import pair_findings
from explorer.analysis.kthread_words import name_kthreads
from explorer.model import Finding, Severity
from tests.conftest import FIXTURES, capture_file

pytestmark = pytest.mark.timeout(120)

LONG = 200_000


@pytest.mark.parametrize("part", ["/", "1", "-1", "a", "/1", " "])
def test_kernel_threads_with_endless_names_are_still_named(part: str) -> None:
    snapshot = capture_file(FIXTURES["isolated"])
    name = part * LONG + "x"
    tasks = [
        task.model_copy(
            update={
                "comm": name,
                "kthread": None
                if task.kthread is None
                else task.kthread.model_copy(update={"full_name": name}),
            }
        )
        for task in snapshot.tasks[:8]
    ]
    assert name_kthreads(tasks, "added").startswith("8 ")


@pytest.mark.parametrize("part", ["a", "0", "0x", "fx", "a "])
def test_findings_with_endless_titles_are_still_paired(part: str) -> None:
    def finding(number: int) -> Finding:
        title = f"{part * LONG}z has waited for {number} s"
        return Finding(
            rule="NX-X", severity=Severity.LOW, title=title, explanation="", advice="", evidence=[]
        )

    gone, added, both = pair_findings([finding(5)], [finding(70)], same_boot=False)
    assert (gone, added, len(both)) == ([], [], 1)
