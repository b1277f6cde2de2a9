"""Keep Python's garbage collector off the snapshot on the screen.

A snapshot of 100,000 tasks is some million objects without a cycle among them. A full collection walks them all, 0.6 s
on the machine this was measured on, and comes in the middle of a keystroke. What is frozen is not walked.
"""

from __future__ import annotations

import gc

__all__ = ("MANY_TASKS", "freeze_more", "settle_heap")

#: From so many on, what is worked out of a snapshot takes long enough to be noticed.
MANY_TASKS = 5000
_USUAL = gc.get_threshold()
#: Laying out 100,000 rows anew makes as many young lists, none of them garbage: no reason to look through all that is
#: alive. What is young is looked through in parts that no key waits for: most of it is Textual's own garbage, of which
#: 200,000 objects take 0.2 s to throw away, and 10,000 take 11 ms.
_SELDOM = (10_000, 10, 200)
#: Frozen cycles of the app's own are looked for once in so many readings.
_READINGS = 16


def settle_heap(tasks: int, number: int) -> None:
    """Freeze what there is now, if there is much of it.

    :param tasks: of the snapshot that has come
    :param number: how many readings there were before
    """
    gc.unfreeze()
    gc.set_threshold(*(_SELDOM if tasks > MANY_TASKS else _USUAL))
    if tasks > MANY_TASKS:
        if number and number % _READINGS == 0:
            gc.collect()
        gc.freeze()


def freeze_more(tasks: int) -> None:
    """Freeze what has been made of the snapshot since: what stays as long as it does."""
    if tasks > MANY_TASKS:
        gc.freeze()
