from .held import held_kallsyms as held_kallsyms
from .held import hold_running as hold_running
from .program import open_running as open_running
