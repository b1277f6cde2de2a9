from .export import ExportScreen as ExportScreen
from .fault import FaultScreen as FaultScreen
from .goto import GoToPrompt as GoToPrompt
from .help import help_screen as help_screen
from .info import TextScreen as TextScreen
from .problem import ProblemScreen as ProblemScreen
from .prompt import TargetPrompt as TargetPrompt
from .reading import ReadingScreen as ReadingScreen
