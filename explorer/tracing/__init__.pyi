from .examine import examine_tracing as examine_tracing
from .instances import find_tracefs as find_tracefs
from .instances import remove_stale as remove_stale
from .tracer import POLL_S as POLL_S
from .tracer import TraceOptions as TraceOptions
from .tracer import Tracer as Tracer
