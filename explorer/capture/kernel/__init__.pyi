from .activity import KernelActivity as KernelActivity
from .log import read_log as read_log
from .log import touch_log as touch_log
from .modules import read_modules as read_modules
from .probes import ProbeMisses as ProbeMisses
from .sizes import read_struct_sizes as read_struct_sizes
from .workqueues import probe_workqueues as probe_workqueues
