"""The verdict as the screen shows it: with a tone, and with what is normal on the kernel's generation."""

from __future__ import annotations

from dataclasses import dataclass

from explorer.analysis import VerdictKind, verdict
from explorer.model import Generation, Snapshot, escape_text

__all__ = ("ShownVerdict", "show_verdict")

_NORMAL = {
    Generation.LEGACY: "Before nullfs: PID 1 and all kernel threads share init_fs; that is normal here.",
    Generation.NULLFS_ROOTFS: "7.0 to 7.2: nullfs lies under the rootfs; sharing init_fs is normal here.",
    Generation.RFC_V1: "RFC v1: userspace_init_fs is a static fs_struct; lookups opt in one by one.",
    Generation.ISOLATED: "7.3 on: a kernel thread that shares init's fs_struct would be a fault here.",
}
_TONES = {
    VerdictKind.ISOLATED: "good",
    VerdictKind.SHARED: "warn",
    VerdictKind.ABANDONED: "bad",
    VerdictKind.BREACHED: "bad",
    VerdictKind.UNKNOWN: "warn",
}


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """A word or a few, a sentence, and what is normal. All text is escaped."""

    word: str
    tone: str
    sentence: str
    normal: str


def show_verdict(snapshot: Snapshot) -> ShownVerdict:
    """The verdict on a snapshot."""
    found = verdict(snapshot)
    return ShownVerdict(
        found.headline, _TONES[found.kind], escape_text(found.sentence), _NORMAL[snapshot.kernel.generation]
    )
