"""The vocabulary: what a snapshot of a kernel consists of. Imports nothing else of ours."""

from .activity import KernelSetting, LoadedModule, StackFrame, UserModeHelper, Walk, Work, Workqueue
from .base import KERNEL_WORD, Address, HexInt, KernelInt, KernelText, Record, hex_address
from .facts import check_facts
from .finding import Finding, Reference, Severity
from .flags import PF_NAMES, TaskFlag
from .fs import FsStruct, PathRef, Placement
from .mount import Attachment, Mount, MountNamespace
from .refs import (
    KERNEL,
    comm_and_pid,
    fs_name,
    fs_reference,
    global_fs,
    known,
    mount_name,
    mount_reference,
    namespace_name,
    namespace_reference,
    task_name,
    task_reference,
)
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
    "KERNEL",
    "KERNEL_WORD",
    "PF_NAMES",
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
    "TaskFlag",
    "TaskKind",
    "UserModeHelper",
    "Walk",
    "Work",
    "Workqueue",
    "check_facts",
    "comm_and_pid",
    "display_width",
    "escape_text",
    "fs_name",
    "fs_reference",
    "global_fs",
    "hex_address",
    "kernel_bytes",
    "kernel_text",
    "known",
    "mount_name",
    "mount_reference",
    "namespace_name",
    "namespace_reference",
    "task_name",
    "task_reference",
)
