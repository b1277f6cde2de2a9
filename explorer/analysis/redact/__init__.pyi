from .snapshots import RedactionError as RedactionError
from .snapshots import Redactor as Redactor
from .snapshots import redact_snapshot as redact_snapshot
from .traces import TraceRedactor as TraceRedactor
