"""The engine that runs the work: Dask, on this machine or on the cluster that somebody named.

On this machine it is one worker process a processor. They listen on loopback, where every user can connect: so they
speak TLS, and take work only from who has a certificate that was made for this run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.fleet.errors import FleetError
from explorer.fleet.needed import need

__all__ = ("Engine",)

#: Nobody looks at a dashboard of a run's own cluster, and memory is watched for each target.
_LOCAL = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
}


@dataclass(frozen=True, slots=True)
class Engine:
    """Where the work runs."""

    scheduler: str | None = None
    """Address of a scheduler (``tls://host:8786``); ``None``: a cluster on this machine."""
    workers: int | None = None
    """Worker processes on this machine; ``None``: one a processor."""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    """Files for TLS; where they are ``None``, Dask's own configuration says what there is."""

    @contextlib.contextmanager
    def client(self) -> Iterator[Any]:
        """A ``distributed.Client``.

        :raises FleetError: if Dask is not installed, or the scheduler cannot be reached
        """
        distributed = need("distributed")
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        with contextlib.ExitStack() as stack:
            if self.scheduler is None:
                yield stack.enter_context(self._local(distributed))
            else:
                yield stack.enter_context(self._remote(distributed, self.scheduler))

    def _remote(self, distributed: Any, address: str) -> Any:
        files = {"tls_ca_file": self.ca, "tls_client_cert": self.cert, "tls_client_key": self.key}
        given = {name: str(path) for name, path in files.items() if path is not None}
        for path in filter(None, files.values()):
            if not os.access(path, os.R_OK):
                raise FleetError(f"{path}: the file for TLS cannot be read")
        try:
            security = (
                distributed.Security(require_encryption=True, **given) if given else distributed.Security()
            )
            has_certificate = security.get_connection_args("client").get("ssl_context") is not None
        except (OSError, ValueError, TypeError) as error:
            raise FleetError(f"the files for TLS are not what they should be: {_said(error)}") from error
        if address.startswith("tls:") and not has_certificate:
            raise FleetError(f"{address} asks for a certificate: give --tls-ca, --tls-cert and --tls-key")
        try:
            return distributed.Client(address, security=security, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise FleetError(f"the scheduler {address} cannot be reached: {_said(error)}") from error

    @contextlib.contextmanager
    def _local(self, distributed: Any) -> Iterator[Any]:
        dask = need("dask")
        workers = self.workers or len(os.sched_getaffinity(0))
        with dask.config.set(_LOCAL), contextlib.ExitStack() as stack:
            # Ctrl-C reaches all that the terminal started: this process alone is to see it, and ends the others.
            with _ignoring_interrupts():
                try:
                    security = distributed.Security.temporary()
                except ImportError as error:
                    raise FleetError(
                        f"a cluster on this machine needs cryptography ({error}): pip install 'nullfs-explorer[fleet]'"
                    ) from error
                cluster = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        protocol="tls",
                        security=security,
                        dashboard_address="127.0.0.1:0",
                        silence_logs=logging.CRITICAL,
                        memory_limit=0,
                    )
                )
                client = stack.enter_context(
                    distributed.Client(
                        cluster, security=security, set_as_default=False, direct_to_workers=True
                    )
                )
            yield client


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
