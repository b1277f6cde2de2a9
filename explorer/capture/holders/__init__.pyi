from .reader import HolderReader as HolderReader
from .reader import count_tasks as count_tasks
