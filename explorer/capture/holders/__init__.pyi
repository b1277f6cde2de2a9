from .reader import HolderReader as HolderReader
from .reader import Holdings as Holdings
