"""What the small records of a recording say: who recorded, which boots there were, why a frame is missing, the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from explorer.codec import check_version, validation_words

from .format import RecordingError, decode_json

__all__ = (
    "EndRecord",
    "KernelRecord",
    "LookupsRecord",
    "RecordModel",
    "RecordingEnd",
    "RecordingHeader",
    "RecordingSegment",
    "SegmentRecord",
    "UnreadableRecord",
    "parse_record",
    "reason_of",
)

#: No sentence of ours and no path is longer; of what is, only the beginning is shown.
_MOST_TEXT = 8192

_Text = Annotated[str, AfterValidator(lambda text: text[:_MOST_TEXT])]


class RecordModel(BaseModel):
    """JSON as it was written: of the right types, nothing converted. What a newer writer adds is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, defer_build=True)


class RecordingHeader(RecordModel):
    """What the recorder said when it began."""

    schema_version: int
    tool_version: _Text
    mode: _Text
    """``step`` (a guest, stopped for each frame), ``poll`` (a guest that runs), ``live`` or ``boot``."""
    target: _Text
    step_s: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)] | None
    started_at: _Text
    """ISO 8601, UTC."""


class SegmentRecord(RecordModel):
    """A boot begins."""

    why: _Text = "start"


class KernelRecord(RecordModel):
    """Its kernel could be read."""

    release: _Text
    build_id: _Text | None = None
    notes: list[_Text] = Field(default_factory=list)


class UnreadableRecord(RecordModel):
    """A frame without a snapshot."""

    why: _Text = "it is not said why"


class LookupsRecord(RecordModel):
    """Path lookups."""

    lookups: list[dict[str, Any]] = Field(default_factory=list)
    """Each as a trace has it."""
    lost: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    """Beside them, those that there was no room for."""


class EndRecord(RecordModel):
    """The recording ends."""

    code: _Text
    reason: _Text


@dataclass(slots=True)
class RecordingSegment:
    """One boot."""

    number: int
    why: str
    """``start``, ``reset``, ``reboot`` or ``kexec``."""
    begin_s: float
    first: int
    """Index of its first frame; that of the next segment's where it has none."""
    release: str | None = None
    """Of its kernel; ``None`` if that could never be read."""
    build_id: str | None = None
    readable_s: float | None = None
    """When the kernel could be read for the first time."""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordingEnd:
    """Why it ended."""

    seconds: float
    code: str
    """For programs: ``done``, ``until``, ``interrupted``, ``shutdown``, ``panic``, ``closed`` or ``error``."""
    reason: str


_ModelT = TypeVar("_ModelT", bound=RecordModel)


def parse_record(model: type[_ModelT], plain: bytes) -> _ModelT:
    """The content of a small record. :raises RecordingError: if it is not what its type says"""
    document = decode_json(plain)
    if model is RecordingHeader:
        _check_version(document)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        what = model.__name__.removeprefix("Recording").removesuffix("Record").lower()
        raise RecordingError(f"its {what} record is not valid: {reason_of(error)}") from error


def _check_version(document: dict[str, Any]) -> None:
    try:
        check_version(document.get("schema_version"))
    except ValueError as error:
        raise RecordingError(f"it has {error}") from error


def reason_of(error: Exception) -> str:
    """Why a document was refused, in a few words, whatever is in it."""
    if isinstance(error, ValidationError):
        return validation_words(error)
    if isinstance(error, KeyError):
        return f"it lacks {error!s:.80}"
    return f"{error!s:.200}"
