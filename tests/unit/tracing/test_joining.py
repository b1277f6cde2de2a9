"""Events become lookups, each exactly once: tries, nested lookups, second ends, lost events, lost stacks."""

from __future__ import annotations

import errno

from explorer.tracing.decode import CpuDecoder, EndEvent, Formats, WalkEvent
from explorer.tracing.formats import parse_event_format
from explorer.tracing.joining import JoinedLookup, Joiner
from tests.unit.tracing import ring

FORMATS = Formats.of(
    {name: parse_event_format(text) for name, text in ring.FORMATS.items()},
    parse_event_format(ring.STACK_FORMAT),
)


def join(
    *events: bytes, joiner: Joiner | None = None, rest: bool = True
) -> list[tuple[bytes, int | None, int]]:
    """Path, result and tries of the lookups that come out, in their order."""
    joiner = joiner or Joiner()
    decoder = CpuDecoder(FORMATS, 0)
    out: list[JoinedLookup] = []
    read = [*decoder.decode(enumerate(events)), *decoder.flush()]
    for event in read:
        out += joiner.walk(event) if isinstance(event, WalkEvent) else joiner.end(event)
    if rest:
        out += joiner.flush(None)
    return [(each.walk.path or b"?", each.result, each.tries) for each in out]


def test_a_walk_and_its_end_are_one_lookup_with_the_result_of_the_end() -> None:
    assert join(ring.walk(5, 0x9000, b"/etc/passwd"), ring.end(5, 0x9000, -errno.ENOENT)) == [
        (b"/etc/passwd", -errno.ENOENT, 1)
    ]
    opened = ring.end(5, 0x9000, 0xFFFF888012345678, ring.OPEN)
    assert join(ring.walk(5, 0x9000, b"/x"), opened) == [(b"/x", 0, 1)]


def test_an_int_is_told_from_what_was_in_the_rest_of_its_register() -> None:
    assert join(ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, 0x00000001FFFFFFDC)) == [
        (b"/x", -errno.ENAMETOOLONG, 1)
    ]


def test_a_walk_that_the_kernel_began_again_is_the_same_lookup() -> None:
    first = (ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, -errno.ECHILD))
    second = (ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, -errno.ESTALE))
    last = (ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, 0))
    assert join(*first, *second, *last) == [(b"/x", 0, 3)]
    assert join(*first, *second) == [(b"/x", -errno.ESTALE, 2)], "the last word, if nothing else comes"
    # __filename_parentat() returns once, whatever it tried.
    assert join(ring.walk(5, 0x9000, b"/x"), *last) == [(b"/x", 0, 2)]


def test_another_path_at_the_same_place_of_the_stack_is_another_lookup() -> None:
    assert join(
        ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, -errno.ECHILD), ring.walk(5, 0x9000, b"/y"),
        ring.end(5, 0x9000, 0),
    ) == [(b"/x", -errno.ECHILD, 1), (b"/y", 0, 1)]  # fmt: skip


def test_a_lookup_within_a_lookup_is_one_of_its_own() -> None:
    outer, inner = ring.walk(5, 0x9000, b"/auto/x"), ring.walk(5, 0x8000, b"/dev/inner")
    ends = ring.end(5, 0x8000, -errno.ENOENT), ring.end(5, 0x9000, 0)
    expected = [(b"/dev/inner", -errno.ENOENT, 1), (b"/auto/x", 0, 1)]
    assert join(outer, inner, *ends) == expected
    assert join(inner, ends[0], outer, ends[1]) == expected, "where a walk is seen as it ends"


def test_the_second_end_of_a_lookup_is_neither_another_nor_a_lost_one() -> None:
    joiner = Joiner()
    events = ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, 0), ring.end(5, 0x9000, 0, ring.OPEN)
    assert join(*events, joiner=joiner) == [(b"/x", 0, 1)]
    assert joiner.orphans == 0


def test_an_end_whose_walk_was_lost_is_counted_and_a_walk_whose_end_was_lost_has_no_result() -> None:
    joiner = Joiner()
    assert join(ring.end(5, 0x9000, 0), ring.end(6, 0x9000, 0), joiner=joiner) == []
    assert joiner.orphans == 2
    assert join(ring.walk(5, 0x9000, b"/x")) == [(b"/x", None, 1)]


def test_an_end_at_the_place_of_the_last_lookup_is_still_one_whose_walk_was_lost() -> None:
    joiner = Joiner()
    join(ring.walk(5, 0x9000, b"/x"), ring.end(5, 0x9000, 0), ring.end(5, 0x9000, 0), joiner=joiner)
    assert joiner.orphans == 1


def test_the_ends_of_inner_lookups_that_were_lost_do_not_take_their_lookups_with_them() -> None:
    assert join(ring.walk(5, 0x9000, b"/o"), ring.walk(5, 0x8000, b"/i"), ring.end(5, 0x9000, 0)) == [
        (b"/i", None, 1),
        (b"/o", 0, 1),
    ]


def test_tasks_that_look_up_at_the_same_time_are_kept_apart() -> None:
    walks = [ring.walk(pid, 0x9000, b"/%d" % pid) for pid in range(1, 50)]
    ends = [ring.end(pid, 0x9000, -200 - pid) for pid in range(49, 0, -1)]
    assert join(*walks, *ends) == [(b"/%d" % pid, -200 - pid, 1) for pid in range(49, 0, -1)]


def test_ends_without_nd_are_told_by_the_stack_pointer() -> None:
    joiner = Joiner()
    out: list[JoinedLookup] = []

    def walk(nd: int, path: bytes) -> WalkEvent:
        return WalkEvent(0, 0, 5, b"k", path, False, nd, None, 0, 0)

    def end(stack: int, result: int, name: str = "look") -> EndEvent:
        return EndEvent(0, 5, name, result, None, stack)

    out += joiner.walk(walk(0xF000, b"/outer"))
    out += joiner.walk(walk(0xE000, b"/inner"))
    out += joiner.end(end(0xDF00, -1))
    out += joiner.end(
        end(0xDFF0, -1, "open")
    )  # path_openat() behind path_lookupat(): of a lookup that has ended
    out += joiner.end(end(0xEF00, -2))
    assert [(each.walk.path, each.result) for each in out] == [(b"/inner", -1), (b"/outer", -2)]
    assert joiner.orphans == 0


def test_a_flood_of_walks_without_ends_fills_no_memory() -> None:
    joiner, out = Joiner(), 0
    for number in range(200_000):
        event = WalkEvent(number, 0, number % 70_000, b"k", b"/%d" % number, False, number << 4, 0, 0, 0)
        out += sum(1 for _ in joiner.walk(event))
    assert out > 100_000
    assert out + sum(1 for _ in joiner.flush(None)) == 200_000


def test_a_stack_belongs_to_the_walk_before_it_of_the_same_task_also_over_two_pages() -> None:
    decoder = CpuDecoder(FORMATS, 3)
    first = list(decoder.decode([(1, ring.walk(5, 0x9000, b"/x"))]))
    assert first == []
    assert decoder.waits_since() == 1
    events = [(2, ring.stack(6, 0xBAD)), (3, ring.stack(5, 0x10, 0x20)), (4, ring.end(5, 0x9000, 0))]
    found = list(decoder.decode(events))
    assert isinstance(found[0], WalkEvent)
    assert (found[0].stack, found[0].cpu) == ([0x10, 0x20], 3)
    assert list(decoder.flush()) == []


def test_a_walk_waits_for_its_stack_for_a_while_only() -> None:
    decoder = CpuDecoder(FORMATS, 0)
    assert list(decoder.decode([(1000, ring.walk(5, 0x9000, b"/x"))])) == []
    assert list(decoder.flush_old(1000)) == []
    [late] = decoder.flush_old(1001)
    assert late.stack is None


def test_events_that_are_cut_short_are_counted_and_left_out() -> None:
    decoder = CpuDecoder(FORMATS, 0)
    events = [(1, ring.walk(5, 0x9000, b"/x")[:40]), (2, ring.end(5, 0x9000, 0)[:20]), (3, b""), (4, b"\x88")]
    assert list(decoder.decode(events)) == []
    assert decoder.damaged == 2


def test_a_path_that_the_kernel_could_not_copy_is_as_much_as_the_walk_has_of_it() -> None:
    event = bytearray(ring.path_event(5, 0x9000, b"/x"))
    event[24:28] = (0x40 << 16 | 0xFFF0).to_bytes(4, "little")
    walk = ring.walk(5, 0x9000, b"/beginning")
    assert paths(bytes(event), walk) == paths(walk, bytes(event)) == [(b"/beginning", False, None)]


def paths(*events: bytes) -> list[tuple[bytes | None, bool, list[int] | None]]:
    """Of the walks among the events: the path, whether it goes on, and the stack."""
    decoder = CpuDecoder(FORMATS, 0)
    found = [*decoder.decode(enumerate(events)), *decoder.flush()]
    return [(each.path, each.path_cut, each.stack) for each in found if isinstance(each, WalkEvent)]


def test_the_path_is_whole_whether_its_event_comes_before_the_walk_or_behind_its_stack() -> None:
    long = b"/" + b"x" * 3000
    walk, path, stack = ring.walk(5, 0x9000, long), ring.path_event(5, 0x9000, long), ring.stack(5, 1)
    assert paths(path, walk, stack, ring.end(5, 0x9000, 0)) == [(long, False, [1])]
    assert paths(walk, stack, path, ring.end(5, 0x9000, 0)) == [(long, False, [1])]
    both = paths(walk, stack, path, walk, stack, path)
    assert both == [(long, False, [1])] * 2
    assert paths(path, walk, stack, path, walk, stack) == both


def test_a_path_whose_event_was_lost_has_its_beginning_and_says_that_it_goes_on() -> None:
    long = b"/" + b"x" * 3000
    assert paths(ring.walk(5, 0x9000, long)) == [(long[:256], True, None)]
    assert paths(ring.walk(5, 0x9000, long[:255])) == [(long[:255], False, None)]
    other = ring.path_event(5, 0x8000, b"/other"), ring.path_event(6, 0x9000, b"/other")
    for lost in other:
        assert paths(lost, ring.walk(5, 0x9000, b"/mine")) == [(b"/mine", False, None)]
        assert paths(ring.walk(5, 0x9000, b"/mine"), lost) == [(b"/mine", False, None)]
