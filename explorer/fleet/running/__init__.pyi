from .engine import Engine as Engine
from .finding import Candidate as Candidate
from .finding import find_candidates as find_candidates
from .reader import serve_readings as serve_readings
from .requests import ReadingOptions as ReadingOptions
from .run import run_fleet as run_fleet
from .tally import Tally as Tally
from .writer import FleetWriter as FleetWriter
