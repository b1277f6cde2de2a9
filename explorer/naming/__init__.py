"""How things are named for people: in sentences and in cells of tables. Imports nothing but the model."""

from .kinds import count_kinds, counted_kind, kind_plural
from .labels import fs_label, name_label, path_label, pwd_label, runs_label, short_address
from .placements import PWD_PLACEMENTS, pwd_placement
from .words import (
    MOST_NAMES,
    container_words,
    count,
    frame_words,
    join_first,
    join_names,
    moment_words,
    moments,
    name_tasks,
    place,
    place_mount,
    seconds,
    utc_of,
)

__all__ = (
    "MOST_NAMES",
    "PWD_PLACEMENTS",
    "container_words",
    "count",
    "count_kinds",
    "counted_kind",
    "frame_words",
    "fs_label",
    "join_first",
    "join_names",
    "kind_plural",
    "moment_words",
    "moments",
    "name_label",
    "name_tasks",
    "path_label",
    "place",
    "place_mount",
    "pwd_label",
    "pwd_placement",
    "runs_label",
    "seconds",
    "short_address",
    "utc_of",
)
