from .snapshot import CaptureProgress as CaptureProgress
from .snapshot import CaptureRequest as CaptureRequest
from .snapshot import CaptureStats as CaptureStats
from .snapshot import capture_snapshot as capture_snapshot
