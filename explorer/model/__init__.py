"""The vocabulary: what a snapshot of a kernel consists of. Imports nothing else of ours."""

from .base import Address, HexInt, KernelText, Record, hex_address
from .fs import FsStruct, PathRef, Placement
from .mount import Attachment, Mount, MountNamespace
from .snapshot import SCHEMA_VERSION, Capture, CaptureError, Generation, Kernel, Snapshot, Source
from .task import Kthread, Owner, Task, TaskKind
from .text import display_width, escape_text, kernel_bytes, kernel_text

__all__ = (
    "SCHEMA_VERSION",
    "Address",
    "Attachment",
    "Capture",
    "CaptureError",
    "FsStruct",
    "Generation",
    "HexInt",
    "Kernel",
    "KernelText",
    "Kthread",
    "Mount",
    "MountNamespace",
    "Owner",
    "PathRef",
    "Placement",
    "Record",
    "Snapshot",
    "Source",
    "Task",
    "TaskKind",
    "display_width",
    "escape_text",
    "hex_address",
    "kernel_bytes",
    "kernel_text",
)
