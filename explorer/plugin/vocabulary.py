"""The names of the model that plugins use: a plugin's author needs one import line."""

from __future__ import annotations

from explorer.model import (
    STUCK_S,
    Address,
    Finding,
    Generation,
    HexInt,
    KernelSetting,
    KernelText,
    Owner,
    PathRef,
    Placement,
    Record,
    Reference,
    Severity,
    Snapshot,
    Task,
    TaskFlag,
    TaskKind,
    kernel_text,
    task_name,
    task_reference,
)

__all__ = (
    "STUCK_S",
    "Address",
    "Finding",
    "Generation",
    "HexInt",
    "KernelSetting",
    "KernelText",
    "Owner",
    "PathRef",
    "Placement",
    "Record",
    "Reference",
    "Severity",
    "Snapshot",
    "Task",
    "TaskFlag",
    "TaskKind",
    "kernel_text",
    "task_name",
    "task_reference",
)
