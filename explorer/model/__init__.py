"""The vocabulary: what a snapshot of a kernel consists of. Imports nothing else of ours."""

from .activity import KernelSetting, LoadedModule, StackFrame, UserModeHelper, Walk, Work, Workqueue
from .base import KERNEL_WORD, Address, HexInt, KernelInt, KernelText, Record, hex_address
from .facts import check_facts
from .finding import Finding, Reference, Severity
from .fs import FsStruct, PathRef, Placement
from .mount import Attachment, Mount, MountNamespace
from .snapshot import (
    SCHEMA_VERSION,
    SNAPSHOT_ARRAYS,
    Capture,
    CaptureError,
    Generation,
    Kernel,
    Snapshot,
    Source,
)
from .task import Kthread, Owner, Task, TaskKind
from .text import display_width, escape_text, kernel_bytes, kernel_text

__all__ = (
    "KERNEL_WORD",
    "SCHEMA_VERSION",
    "SNAPSHOT_ARRAYS",
    "Address",
    "Attachment",
    "Capture",
    "CaptureError",
    "Finding",
    "FsStruct",
    "Generation",
    "HexInt",
    "Kernel",
    "KernelInt",
    "KernelSetting",
    "KernelText",
    "Kthread",
    "LoadedModule",
    "Mount",
    "MountNamespace",
    "Owner",
    "PathRef",
    "Placement",
    "Record",
    "Reference",
    "Severity",
    "Snapshot",
    "Source",
    "StackFrame",
    "Task",
    "TaskKind",
    "UserModeHelper",
    "Walk",
    "Work",
    "Workqueue",
    "check_facts",
    "display_width",
    "escape_text",
    "hex_address",
    "kernel_bytes",
    "kernel_text",
)
