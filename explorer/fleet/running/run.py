"""One run: files are examined, those that are new are read, and what comes of them is written, all as it comes.

Dask schedules, balances and tries again. Here is only how much it is given at a time, so that neither the scheduler nor
this process has more than a window of a run of any length: what was asked for is forgotten when it has been written.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
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
#: Targets that are read, or wait for it, for each thread of the workers.
_WINDOW = 4
_LEAST_WINDOW = 8


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
        self._examining: set[Any] = set()
        self._reading: dict[Any, Examined] = {}
        self._asked: set[str] = set()
        """Keys of those that are being read."""
        self._new: deque[Examined] = deque()
        self._results = need("distributed").as_completed(loop=client.loop)

    def go_on(self) -> None:
        try:
            while self._submit():
                future = next(self._results)
                if future in self._examining:
                    self._take_examined(future)
                else:
                    self._take_read(future)
                self._progress(self._tally)
        finally:
            for future in (*self._examining, *self._reading):
                future.release()

    def _submit(self) -> bool:
        """Keep the workers busy. ``False``: nothing is left to be done."""
        window = max(_LEAST_WINDOW, _WINDOW * sum(self._client.nthreads().values()))
        while self._new and len(self._reading) < window:
            examined = self._new.popleft()
            future = self._client.submit(read, examined, self._options, __version__, pure=False, priority=1)
            self._reading[future] = examined
            self._results.add(future)
        wanted = max(1, window // _EXAMINED_AT_ONCE)
        while len(self._new) < window and len(self._examining) < wanted:
            batch = next(self._batches, None)
            if batch is None:
                break
            future = self._client.submit(examine, batch, __version__, pure=False)
            self._examining.add(future)
            self._results.add(future)
        return bool(self._examining or self._reading)

    def _take_examined(self, future: Any) -> None:
        self._examining.discard(future)
        found: list[Examined] = _outcome(future)
        for examined in found:
            if examined.key is None:
                self._tally.passed_over += 1
            elif examined.key in self._asked or self._writer.knows(examined.key):
                self._tally.skipped += 1
            else:
                self._asked.add(examined.key)
                self._new.append(examined)

    def _take_read(self, future: Any) -> None:
        examined = self._reading.pop(future)
        result = self._result(future, examined)
        if result.outcome is None:
            self._tally.passed_over += 1
        else:
            self._writer.add(result)
            self._tally.outcomes[result.outcome] += 1
        self._asked.discard(result.key)

    def _result(self, future: Any, examined: Examined) -> Result:
        killed = need("distributed").KilledWorker
        if future.status == "error" and isinstance(future.exception(), killed):
            future.release()
            return failed_result(
                examined, f"{examined.name}: every worker that read it died, or its machine did"
            )
        result: Result = _outcome(future)
        return result


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
