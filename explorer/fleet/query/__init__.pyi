from .bounds import Bounds as Bounds
from .bounds import bounds_of as bounds_of
from .scan import FoundTasks as FoundTasks
from .scan import find_tasks as find_tasks
