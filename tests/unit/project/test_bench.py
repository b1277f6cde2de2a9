"""The benchmark's tables and promises; its timings are nobody's assertion."""

from __future__ import annotations

import json

from bench.promises import ratios_of
from bench.report import Ratio, Row, as_json, as_table
from bench.targets import Crowd
from bench.timing import medians, run_child

MAIN = Crowd("crowd", 20_000, 3072)
GROWTH = (Crowd("threads", 1_000, 512), Crowd("threads", 100_000, 4096))
ROWS = [
    Row(f"capture: {MAIN.name}", 10.0, "µs/task", tasks=20_055),
    Row(f"raw reads alone: {MAIN.name}", 6.25, "µs/task", tasks=20_055),
    Row(f"straightforward, same fields: {MAIN.name}", 200.0, "µs/task", tasks=20_000),
    Row(f"growth: {MAIN.name}", 10.0, "µs/task", tasks=20_055),
    Row(f"growth: {GROWTH[1].name}", 14.0, "µs/task", tasks=100_055),
    Row(f"snapshot, end to end: {MAIN.name}", 0.5, "s", tasks=20_000),
    Row(f"straightforward script, its loop alone: {MAIN.name}", 4.0, "s", tasks=20_000),
    Row("crash, foreach files: 6.12", None, "µs/task", note="not available: crash is not installed"),
]


def _ratio(name: str) -> Ratio:
    return next(ratio for ratio in ratios_of(ROWS, MAIN, GROWTH) if ratio.what.startswith(name))


def test_ratios_are_of_the_figures_of_one_run() -> None:
    assert _ratio("capture / raw reads").value == 1.6
    assert _ratio("straightforward (same fields) / capture").value == 20.0
    assert _ratio("straightforward loop, without opening").value == 8.0


def test_a_broken_promise_is_said_to_be_broken() -> None:
    grown = _ratio("a task of 100,000 / a task of 20,000")
    assert grown.value == 1.4 and grown.holds is False
    assert _ratio("capture / raw reads").holds is True


def test_what_was_not_measured_neither_holds_nor_breaks() -> None:
    assert _ratio("recorder frame").value is None
    assert _ratio("recorder frame").holds is None


def test_the_table_has_every_figure_and_says_why_one_is_missing() -> None:
    table = as_table(ROWS, ratios_of(ROWS, MAIN, GROWTH))
    assert "not available: crash is not installed" in table
    for row in ROWS:
        assert row.what in table
    assert "NO" in table and "yes" in table


def test_the_json_has_what_the_table_has() -> None:
    ratios = ratios_of(ROWS, MAIN, GROWTH)
    document = json.loads(as_json(ROWS, ratios, quick=True))
    assert [figure["what"] for figure in document["figures"]] == [row.what for row in ROWS]
    assert [ratio["holds"] for ratio in document["ratios"]] == [ratio.holds for ratio in ratios]
    assert document["quick"] is True


def test_a_measurement_may_bring_its_own_time() -> None:
    assert medians(3, {"own": lambda: 2.5}) == {"own": 2.5}


def test_the_peak_of_a_child_is_its_own_and_not_that_of_its_parent() -> None:
    ballast = bytearray(200 << 20)
    assert run_child(["-S", "-c", "pass"]).peak < len(ballast) // 2
