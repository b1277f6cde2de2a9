from .child import Child as Child
from .child import Reader as Reader
from .child import ReaderFailure as ReaderFailure
from .child import Reading as Reading
from .child import line_batches as line_batches
from .child import run_doctor as run_doctor
from .process import Process as Process
