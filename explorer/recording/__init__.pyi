from .format import RecordingError as RecordingError
from .reader import Recording as Recording
from .writer import RecordingWriter as RecordingWriter
from .writer import WriteError as WriteError
