"""The parts of a dataset: files of one name, one in each table's folder, that were written together.

A part is there when its file of ``targets``, which is written last, is: what a killed run left without one is no part.
Of two parts that have rows of one target the later one counts: a newer version of this program has read it again.
While parts are made into one, ``compacting.json`` says which: the new one counts from the moment that it is there, and
the old ones no more.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .errors import FleetError
from .needed import need

__all__ = ("JOURNAL", "SUFFIX", "dead_keys", "list_parts", "read_journal")

SUFFIX = ".parquet"
JOURNAL = "compacting.json"


def read_journal(fleet: Path) -> tuple[str, list[str]] | None:
    """The part that others are being made into, and those; ``None``: nothing is.

    :raises FleetError: if the journal cannot be read
    """
    try:
        document = json.loads((fleet / JOURNAL).read_bytes())
        return str(document["new"]), [str(name) for name in document["old"]]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FleetError(f"cannot read {fleet / JOURNAL}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FleetError(f"{fleet / JOURNAL} is damaged: {error}") from error


def list_parts(fleet: Path) -> list[str]:
    """The names of the parts that count, oldest first, without their suffix. :raises FleetError: if they cannot be"""
    try:
        found = sorted(path.name.removesuffix(SUFFIX) for path in (fleet / "targets").glob(f"[!.]*{SUFFIX}"))
    except OSError as error:
        raise FleetError(f"cannot read {fleet}: {error.strerror}") from error
    journal = read_journal(fleet)
    if journal is None or journal[0] not in found:
        return found
    return [name for name in found if name not in journal[1]]


def dead_keys(parts: Collection[tuple[str, Any]]) -> dict[str, Any]:
    """By part, the keys (``pyarrow.Array``) of rows that a later part has too. Parts without such keys are left out.

    :param parts: names, oldest first, and the keys in each
    """
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    keys = [keys for _, keys in parts]
    every = pa.chunked_array(keys, pa.string())
    if len(pc.unique(every)) == len(every):
        return {}
    dead: dict[str, Any] = {}
    later = pa.array([], pa.string())
    for name, mine in reversed(list(parts)):
        again = mine.filter(pc.is_in(mine, value_set=later))
        if len(again):
            dead[name] = again
        later = pa.concat_arrays([later, mine])
    return dead
