from .snapshot import capture_proc as capture_proc
