from .capture import capture_target as capture
from .library import AuditReport as AuditReport
from .library import Finding as Finding
from .library import OpenKernel as OpenKernel
from .library import QueryError as QueryError
from .library import RecordingError as RecordingError
from .library import Severity as Severity
from .library import Snapshot as Snapshot
from .library import SnapshotError as SnapshotError
from .library import TargetError as TargetError
from .library import Task as Task
from .library import audit as audit
from .library import load as load
from .library import open_target as open_target
from .library import query as query
from .version import __version__ as __version__

__all__ = (
    "AuditReport",
    "Finding",
    "OpenKernel",
    "QueryError",
    "RecordingError",
    "Severity",
    "Snapshot",
    "SnapshotError",
    "TargetError",
    "Task",
    "audit",
    "capture",
    "load",
    "open_target",
    "query",
)
