"""One run: files are examined, those that are new are read, and what comes of them is written, all as it comes.

Dask schedules, balances and tries again. Here is only how much it is given at a time, so that neither the scheduler nor
this process has more than a window of a run of any length: what was asked for is forgotten when it has been written.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from explorer.fleet.errors import FleetError
from explorer.fleet.needed import need
from explorer.version import __version__

from .finding import Candidate
from .requests import Examined, ReadingOptions, Result
from .tally import Tally
from .work import examine, failed_result, read
from .writer import FleetWriter

__all__ = ("run_fleet",)

#: Candidates that are examined by one task: a file is opened and read, which takes less time than a task's way.
_EXAMINED_AT_ONCE = 16
#: Tasks that are being done, or wait for it, for each thread of the workers.
_WINDOW = 4
_LEAST_WINDOW = 8
#: So many targets are read by one task, if that takes no longer than this: what a task costs is as much as a small one.
_MOST_AT_ONCE, _SECONDS_AT_ONCE = 16, 1.0


def run_fleet(
    candidates: Iterable[Candidate],
    writer: FleetWriter,
    client: Any,
    options: ReadingOptions,
    tally: Tally,
    progress: Callable[[Tally], None] = lambda tally: None,
) -> None:
    """Read every candidate that is a target and not known yet, and write its row.

    :param client: a ``distributed.Client``
    :param tally: how far it is; ``found`` is what whoever asks knows
    :param progress: called after every target

    :raises FleetError: if the dataset cannot be written, or the cluster is lost; what was written is whole then
    """
    lost = _lost()
    try:
        _Run(candidates, writer, client, options, tally, progress).go_on()
    except lost as error:
        raise FleetError(
            f"the cluster was lost ({type(error).__name__}); what was written is whole, and the same command goes on "
            "from there"
        ) from error


def _lost() -> tuple[type[BaseException], ...]:
    """What Dask raises where the scheduler has gone."""
    return (
        need("distributed.comm").CommClosedError,
        need("distributed.client").FutureCancelledError,
        TimeoutError,
    )


class _Run:
    def __init__(
        self,
        candidates: Iterable[Candidate],
        writer: FleetWriter,
        client: Any,
        options: ReadingOptions,
        tally: Tally,
        progress: Callable[[Tally], None],
    ) -> None:
        self._batches = _batched(candidates)
        self._writer, self._client, self._options = writer, client, options
        self._tally, self._progress = tally, progress
        self._examining: dict[Any, list[Candidate]] = {}
        self._reading: dict[Any, list[Examined]] = {}
        self._asked: set[str] = set()
        """Keys of those that are to be read, or are being read."""
        self._new: deque[Examined] = deque()
        self._suspects: deque[Callable[[], Any]] = deque()
        """What asks again for what was asked of a worker that died: of that one, or of another that waited there."""
        self._alone: Any = None
        """The future of one of these, while nothing else is asked: if the worker dies now, that is the cause."""
        self._seconds: float | None = None
        """What a target took lately, the last few more than those before."""
        self._results = need("distributed").as_completed(loop=client.loop)

    def go_on(self) -> None:
        killed = need("distributed").KilledWorker
        try:
            while self._submit():
                future = next(self._results)
                if future.status == "error" and isinstance(future.exception(), killed):
                    self._take_killed(future)
                elif future in self._examining:
                    self._take_examined(future)
                else:
                    self._reading.pop(future)
                    self._take_read(_outcome(future))
                if future is self._alone:
                    self._alone = None
                self._progress(self._tally)
        finally:
            for future in (*self._examining, *self._reading):
                future.release()

    def _submit(self) -> bool:
        """Keep the workers busy. ``False``: nothing is left to be done."""
        if self._suspects or self._alone is not None:
            if not self._examining and not self._reading:
                self._alone = self._suspects.popleft()()
            return True
        threads = sum(self._client.nthreads().values())
        window = max(_LEAST_WINDOW, _WINDOW * threads)
        at_once = self._at_once()
        while len(self._reading) < window and (targets := self._next(at_once, threads)):
            self._read(targets)
        wanted = max(1, window * at_once // _EXAMINED_AT_ONCE)
        while len(self._new) < window * at_once and len(self._examining) < wanted:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._examine(batch)
        return bool(self._examining or self._reading)

    def _read(self, targets: list[Examined]) -> Any:
        future = self._client.submit(read, targets, self._options, __version__, pure=False, priority=1)
        self._reading[future] = targets
        self._results.add(future)
        return future

    def _examine(self, batch: list[Candidate]) -> Any:
        future = self._client.submit(examine, batch, __version__, pure=False)
        self._examining[future] = batch
        self._results.add(future)
        return future

    def _at_once(self) -> int:
        if not self._seconds:
            return 1
        return max(1, min(_MOST_AT_ONCE, int(_SECONDS_AT_ONCE / self._seconds)))

    def _next(self, at_once: int, threads: int) -> list[Examined]:
        """What one task is to read; where little is left, no more than leaves something for every thread."""
        some = min(at_once, -(-len(self._new) // max(1, threads)))
        return [self._new.popleft() for _ in range(some)]

    def _take_examined(self, future: Any) -> None:
        del self._examining[future]
        found: list[Examined] = _outcome(future)
        for examined in found:
            if examined.key is None:
                self._tally.passed_over += 1
            elif examined.key in self._asked or self._writer.knows(examined.key):
                self._tally.skipped += 1
            else:
                self._asked.add(examined.key)
                self._new.append(examined)

    def _take_read(self, result: Result) -> None:
        self._writer.add(result)
        for told in result.targets:
            if told.outcome is None:
                self._tally.passed_over += 1
            else:
                self._tally.outcomes[told.outcome] += 1
            self._asked.discard(told.key)
            before = told.seconds if self._seconds is None else self._seconds
            self._seconds = before + (told.seconds - before) / 4

    def _take_killed(self, future: Any) -> None:
        """Every worker died that had this to do, which does not say that it had begun."""
        is_cause = future is self._alone
        future.release()
        batch, targets = self._examining.pop(future, []), self._reading.pop(future, [])
        if not is_cause:
            if batch:
                self._suspects.append(partial(self._examine, batch))
            self._suspects.extend(partial(self._read, [target]) for target in targets)
            return
        if batch:
            raise FleetError(f"every worker that was to look at {batch[0].name} and what follows it died")
        [target] = targets
        self._take_read(
            failed_result(target, f"{target.name}: every worker that read it died, or its machine did")
        )


def _outcome(future: Any) -> Any:
    """What a task gave, which is then forgotten. :raises FleetError: if the workers are not as they should be"""
    try:
        return future.result()
    except FleetError:
        raise
    except (ImportError, AttributeError) as error:
        raise FleetError(
            f"a worker cannot run this ({error}): install nullfs-explorer[fleet] {__version__} where the workers are"
        ) from error
    finally:
        future.release()


def _batched(candidates: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    left = iter(candidates)
    while batch := list(itertools.islice(left, _EXAMINED_AT_ONCE)):
        yield batch
