from .loop import Machine as Machine
from .loop import NotReadableError as NotReadableError
from .loop import Recorder as Recorder
from .loop import RecordRequest as RecordRequest
from .loop import RecordSummary as RecordSummary
from .machines import LiveMachine as LiveMachine
from .machines import QemuMachine as QemuMachine
