from .cut import record as record
from .cut import record_slice as record_slice
from .redact import redact_slice as redact_slice
