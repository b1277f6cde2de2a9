from .export import ExportScreen as ExportScreen
from .fault import FaultScreen as FaultScreen
from .info import TextScreen as TextScreen
from .info import help_screen as help_screen
from .leaving import LeaveScreen as LeaveScreen
from .problem import ProblemScreen as ProblemScreen
from .prompt import TargetPrompt as TargetPrompt
from .reading import ReadingScreen as ReadingScreen
